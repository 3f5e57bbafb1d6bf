"""The ways of sound through a call: from a step that gives it, straight to the next that hears it.

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
    """What a step does to one stream of sound. Rates in Hz, PCM16 mono.

    `hears`: it comes to the step; sound goes around all others. `takes`: at this rate; None: at
    any. `gives` None: what comes goes on at its rate. `consumes`: nothing goes on. `begins`:
    nothing needs to come.
    """

    hears: bool = False
    takes: int | None = None
    gives: int | None = None
    consumes: bool = False
    begins: bool = False


# What a step does to a kind of sound of which it says nothing: it comes, and goes on as it is.
HEARD = AudioRoute(hears=True)
# It has nothing to do with it.
UNHEARD = AudioRoute()


def route_audio(
    processors: Sequence[FrameProcessor], sounds: Mapping[type[SoundFrame], Sequence[AudioRoute]]
) -> list[FrameProcessor]:
    """Lead each kind of sound around the processors that do not hear it.

    `sounds` says, for each kind, what each processor does to it. A processor of ours is told where
    its sound goes; behind one of somebody else's, a small one is put that parts sound from the
    rest. Returns the processors to link, in order.
    """
    ways = {kind: _way(processors, does) for kind, does in sounds.items()}
    laid: list[FrameProcessor] = []
    for index, processor in enumerate(processors):
        laid.append(processor)
        onward = {kind: way[index] for kind, way in ways.items() if index in way}
        if isinstance(processor, DirectProcessor) and len(onward) == 1:
            (processor.sound_to,) = onward.values()
            continue
        straight = processors[index + 1] if index + 1 < len(processors) else None
        laid += [
            AudioBypass(kind, beyond) for kind, beyond in onward.items() if beyond is not straight
        ]
    return laid


def _way(
    processors: Sequence[FrameProcessor], does: Sequence[AudioRoute]
) -> dict[int, FrameProcessor]:
    """One kind's way: by the place of each processor that gives it, the next that hears it."""
    way: dict[int, FrameProcessor] = {}
    giver: int | None = None
    for index, processor in enumerate(processors):
        if does[index].begins:
            giver = index
        elif does[index].hears and giver is not None:
            way[giver] = processor
            giver = None if does[index].consumes else index
    return way
