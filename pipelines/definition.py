"""PipelineDefinition: a call's pipeline as data: steps in order, tools and agent profile.

A `Step` declares what it does to the two audio streams, and builds its Pipecat processor for one
call. A definition that cannot work raises when it is declared.

    caller's sound   transport_input 8000 ─▶ resample ─▶ 16000 ─▶ model
    agent's sound                                            model 24000 ─▶ transport_output
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from agent.call_memory import CallMemory
from agent.conversation import Conversation
from agent.measures import MeasureSink
from agent.ports import LiveCall, Record
from agent.profile import AgentProfile
from pipelines.call.audio_routing import HEARD, AudioRoute, route_audio
from pipelines.call.hangup import HangupController
from pipelines.gemini.client import ConnectModel
from pipelines.gemini.greeting_cache import GreetingCache
from pipelines.gemini.model_controls import ModelControls
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.tools import Tool, ToolError, ToolFunction, as_tool
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback


class Role(Enum):
    """Role of a step; a definition has exactly one of each of the first three."""

    TRANSPORT_INPUT = "transport_input"
    MODEL = "model"
    TRANSPORT_OUTPUT = "transport_output"
    PROCESSOR = "processor"


@dataclass(frozen=True)
class CallParts:
    """Parts of one call that its steps share."""

    # The call as steps have it, and as tools have it.
    call: LiveCall
    tool_context: LiveCall
    profile: AgentProfile
    tools: tuple[Tool, ...]
    line: PhoneLine
    playback: Playback
    speech: CallerSpeech
    conversation: Conversation
    hangup: HangupController
    client: ConnectModel
    patience: SessionPatience
    greetings: GreetingCache | None
    sentences: PreparedSentences | None
    controls: ModelControls
    # What is known of the call from the instance that began it; None: it begins here.
    recalled: CallMemory | None
    record: Record
    measure: MeasureSink
    # Clock for processing latency, in seconds; an event loop's clock may tick in ms only.
    stopwatch: Callable[[], float]


@dataclass(frozen=True)
class Step:
    """One step of a pipeline. `build` makes its processor, once for each call."""

    name: str
    build: Callable[[CallParts], FrameProcessor]
    role: Role = Role.PROCESSOR
    caller: AudioRoute = HEARD
    agent: AudioRoute = HEARD
    # The frames, apart from audio, that it acts on and that it makes; all others pass.
    takes: tuple[type[Frame], ...] = ()
    gives: tuple[type[Frame], ...] = ()
    # Makes the final step from the caller's rate before it, for steps that depend on that rate.
    fit: "Callable[[int], Step] | None" = field(default=None, compare=False)


# Pipecat sends these to every processor.
_LIFECYCLE_FRAMES: list[type[Frame]] = [StartFrame, EndFrame, CancelFrame]


class DefinitionError(ValueError):
    """A definition that cannot work; the message says why in a sentence."""


class PipelineDefinition:
    """One kind of call.

    Raises, when declared: DefinitionError.
    """

    def __init__(
        self,
        name: str,
        *,
        steps: Sequence[Step],
        tools: Sequence[ToolFunction | Tool] = (),
        profile: AgentProfile | None = None,
        description: str = "",
    ) -> None:
        """`profile` is the agent's profile where a request does not override it."""
        if not name.replace("_", "").isalnum() or not name.isascii():
            raise DefinitionError(f"pipeline {name!r}: a name is letters, digits and underscores")
        self.name = name
        self.description = description
        self.profile = profile or AgentProfile()
        self.tools = self._read_tools(tools)
        self.steps = self._fit(steps)

    def build(self, parts: CallParts) -> list[FrameProcessor]:
        """The processors of one call, in order."""
        built = [step.build(parts) for step in self.steps]
        return route_audio(
            built,
            {
                InputAudioRawFrame: [step.caller for step in self.steps],
                OutputAudioRawFrame: [step.agent for step in self.steps],
            },
        )

    def as_text(self) -> str:
        """The pipeline drawn for a terminal, with the audio rates beside the steps."""
        rows = [(step.name, _audio_after(step)) for step in self.steps]
        width = max(len(name) for name, _ in rows)
        lines = [f"{self.name}: {self.description}".rstrip(": ")]
        for index, (name, sound) in enumerate(rows):
            lines += [f"  {name:<{width}}   {sound}".rstrip()]
            lines += ["    │"] if index < len(rows) - 1 else []
        named = ", ".join(tool.name for tool in self.tools) or "none"
        return "\n".join([*lines, f"tools: {named}"])

    def as_mermaid(self) -> str:
        """The pipeline as a Mermaid flowchart."""
        lines = ["flowchart LR", '  phone(["Twilio"]) --> s0']
        for index, step in enumerate(self.steps):
            lines.append(f'  s{index}["{step.name}"]')
        for index, step in enumerate(self.steps[:-1]):
            sound = _audio_after(step)
            arrow = f'-- "{sound}" -->' if sound else "-->"
            lines.append(f"  s{index} {arrow} s{index + 1}")
        for index, step in enumerate(self.steps):
            if step.role is Role.MODEL:
                lines.append(f'  s{index} <--> gemini(["Gemini Live"])')
                lines += [f'  s{index} -.- t{n}[/"{t.name}()"/]' for n, t in enumerate(self.tools)]
            if step.role is Role.TRANSPORT_OUTPUT:
                lines.append(f'  s{index} -- "mu-law 8000 Hz" --> phone')
        return "\n".join(lines)

    def _read_tools(self, tools: Sequence[ToolFunction | Tool]) -> tuple[Tool, ...]:
        try:
            read = tuple(as_tool(tool) for tool in tools)
        except ToolError as error:
            raise DefinitionError(f"pipeline {self.name!r}: {error}") from error
        names = [tool.name for tool in read]
        for name in names:
            if names.count(name) > 1:
                raise DefinitionError(f"pipeline {self.name!r}: two tools are named {name!r}")
        return read

    def _fit(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        self._check_roles(steps)
        fitted: list[Step] = []
        caller: int | None = None
        agent: int | None = None
        for step in steps:
            if step.fit is not None:
                if caller is None:
                    raise DefinitionError(
                        f"pipeline {self.name!r}: no caller's sound reaches {step.name!r}"
                    )
                try:
                    step = step.fit(caller)
                except ValueError as error:
                    raise DefinitionError(f"pipeline {self.name!r}: {error}") from error
            caller = self._follow(step, step.caller, caller, "the caller's sound")
            agent = self._follow(step, step.agent, agent, "the agent's sound")
            fitted.append(step)
        self._check_frames(fitted)
        return tuple(fitted)

    def _check_frames(self, steps: Sequence[Step]) -> None:
        """Check that another step makes each frame that a step acts on."""
        for step in steps:
            given = [frame for other in steps if other is not step for frame in other.gives]
            given += _LIFECYCLE_FRAMES
            for frame in step.takes:
                if not any(issubclass(kind, frame) for kind in given):
                    raise DefinitionError(
                        f"pipeline {self.name!r}: {step.name!r} waits for {frame.__name__}, "
                        "and no other step gives it"
                    )

    def _check_roles(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if not isinstance(step, Step):
                raise DefinitionError(
                    f"pipeline {self.name!r}: {step!r} is not a step; "
                    "a Pipecat processor becomes one with custom(name, build)"
                )
        order = [step.role for step in steps if step.role is not Role.PROCESSOR]
        for role in (Role.TRANSPORT_INPUT, Role.MODEL, Role.TRANSPORT_OUTPUT):
            if (count := order.count(role)) != 1:
                raise DefinitionError(
                    f"pipeline {self.name!r}: it needs one {role.value}, and has {count or 'none'}"
                )
        if order != [Role.TRANSPORT_INPUT, Role.MODEL, Role.TRANSPORT_OUTPUT]:
            raise DefinitionError(
                f"pipeline {self.name!r}: the order is transport_input, model, "
                "transport_output, not " + ", ".join(role.value for role in order)
            )
        if steps[0].role is not Role.TRANSPORT_INPUT:
            raise DefinitionError(f"pipeline {self.name!r}: it begins with transport_input")

    def _follow(self, step: Step, does: AudioRoute, rate: int | None, whose: str) -> int | None:
        if does.begins:
            return does.gives
        if does.takes is not None and rate != does.takes:
            comes = f"{rate} Hz reaches it" if rate else "none reaches it"
            raise DefinitionError(
                f"pipeline {self.name!r}: {step.name!r} takes {whose} at {does.takes} Hz, "
                f"and {comes}; put a resample(to={does.takes}) before it"
            )
        if does.consumes:
            return None
        return does.gives or rate


def _audio_after(step: Step) -> str:
    if step.role is Role.MODEL:
        return f"agent {step.agent.gives} Hz"
    if step.caller.gives is not None:
        return f"caller {step.caller.gives} Hz"
    return ""
