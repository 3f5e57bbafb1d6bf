"""Pipecat's frames of sound, made a hundred times a second and call: what few ask for comes late.

A frame of Pipecat's counts itself and names itself when it is made. Hardly anybody asks a packet
of sound for its name, so these do so when they are asked. They are made with what Pipecat's own are
made with: a step may have another made of the same class.
"""

from typing import Any

from pipecat.frames.frames import Frame, InputAudioRawFrame, TTSAudioRawFrame

# What Frame.__post_init__ sets.
_SET_LATE = frozenset(
    {
        "id",
        "name",
        "pts",
        "broadcast_sibling_id",
        "metadata",
        "transport_source",
        "transport_destination",
    }
)


class _LateFrame(Frame):
    """A frame with what all frames have, as soon as somebody asks for any of it."""

    def __getattr__(self, name: str) -> Any:
        if name not in _SET_LATE or name in vars(self):
            raise AttributeError(name, name=name, obj=self)
        given = dict(vars(self))
        Frame.__post_init__(self)
        vars(self).update(given)
        return vars(self)[name]


class CallerSound(_LateFrame, InputAudioRawFrame):
    """What the caller says: PCM16 at `sample_rate` Hz."""

    def __init__(self, audio: bytes, sample_rate: int, num_channels: int = 1) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.num_frames = len(audio) // (2 * num_channels)


class AgentSound(_LateFrame, TTSAudioRawFrame):
    """What the agent says: PCM16 at `sample_rate` Hz."""

    def __init__(
        self,
        audio: bytes,
        sample_rate: int,
        num_channels: int = 1,
        context_id: str | None = None,
    ) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.num_frames = len(audio) // (2 * num_channels)
        self.context_id = context_id
