"""Where code is, read from a thread's stack: what is named when something took long."""

from dataclasses import dataclass
from types import FrameType

# The packages of this repository, whose functions say more than a library's.
OURS = frozenset({"agent", "processors", "pipelines", "server"})


@dataclass(frozen=True, slots=True)
class CodePlace:
    """One line of a function."""

    module: str
    function: str
    line: int

    @property
    def name(self) -> str:
        """Module and function."""
        return f"{self.module}:{self.function}"

    @property
    def package(self) -> str:
        """The outermost package of its module."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.name}:{self.line}"


# From the innermost call outwards.
Stack = tuple[CodePlace, ...]


def frames_within(frame: FrameType | None, depth: int) -> list[FrameType]:
    """The frames of a thread, innermost first, without the `depth` outermost ones."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[: len(frames) - depth] if depth < len(frames) else []


def depth_of(frame: FrameType | None) -> int:
    """How many frames there are up to this one, itself included."""
    count = 0
    while frame is not None:
        count, frame = count + 1, frame.f_back
    return count


def stack_of(frames: list[FrameType]) -> Stack:
    """Where each frame is now; a frame that runs is somewhere else a moment later."""
    return tuple(
        CodePlace(
            str(frame.f_globals.get("__name__", "?")), frame.f_code.co_qualname, frame.f_lineno
        )
        for frame in frames
    )


def who(stack: Stack) -> str:
    """Who is answerable, by name, without a line: few enough to count by.

    The innermost function of ours, and the library that it was in meanwhile; the innermost function
    of all when none is ours.

        pipelines.twilio_stream:decode in json

    Raises: ValueError when the stack is empty.
    """
    if not stack:
        raise ValueError("nobody is on an empty stack")
    inside = stack[0].package
    for place in stack:
        if place.package in OURS:
            return place.name if inside in OURS else f"{place.name} in {inside}"
    return stack[0].name
