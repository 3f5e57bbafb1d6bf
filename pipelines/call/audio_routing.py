"""Routes audio frames from each step that produces them directly to the next step that hears them.

steps        transport_input   keypad   loudness   remember_caller   model   transport_output
caller       gives ──────────────▶ hears ─────────────────────▶ hears
agent                                                           gives ─▶ hears
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipecat.processors.frame_processor import FrameProcessor

from processors.direct import AudioBypass, DirectProcessor
from processors.direct import Sound as SoundFrame


@dataclass(frozen=True)
class AudioRoute:
    """How a step handles one audio stream. Rates in Hz, PCM16 mono.

    `hears`: the stream comes to the step; it bypasses all others. `takes`: the input rate; None:
    any. `gives`: the output rate; None: the input's. `consumes`: the stream ends here. `begins`:
    the stream starts here.
    """

    hears: bool = False
    takes: int | None = None
    gives: int | None = None
    consumes: bool = False
    begins: bool = False


# The default for a step: the stream comes to it, and passes unchanged.
HEARD = AudioRoute(hears=True)
# The stream bypasses the step.
UNHEARD = AudioRoute()


def route_audio(
    processors: Sequence[FrameProcessor], sounds: Mapping[type[SoundFrame], Sequence[AudioRoute]]
) -> list[FrameProcessor]:
    """Route each kind of audio frame around the processors that do not hear it.

    `sounds` gives, for each kind, one `AudioRoute` per processor. A `DirectProcessor` gets the
    target in `sound_to`; behind any other processor an `AudioBypass` is inserted. Returns the
    processors to link, in order.
    """
    routes = {kind: _next_hearers(processors, does) for kind, does in sounds.items()}
    linked: list[FrameProcessor] = []
    for index, processor in enumerate(processors):
        linked.append(processor)
        onward = {kind: hearers[index] for kind, hearers in routes.items() if index in hearers}
        if isinstance(processor, DirectProcessor) and len(onward) == 1:
            (processor.sound_to,) = onward.values()
            continue
        straight = processors[index + 1] if index + 1 < len(processors) else None
        linked += [
            AudioBypass(kind, beyond) for kind, beyond in onward.items() if beyond is not straight
        ]
    return linked


def _next_hearers(
    processors: Sequence[FrameProcessor], does: Sequence[AudioRoute]
) -> dict[int, FrameProcessor]:
    """For one kind of frame: by the index of each processor that gives it, the next hearer."""
    hearers: dict[int, FrameProcessor] = {}
    giver: int | None = None
    for index, processor in enumerate(processors):
        if does[index].begins:
            giver = index
        elif does[index].hears and giver is not None:
            hearers[giver] = processor
            giver = None if does[index].consumes else index
    return hearers
