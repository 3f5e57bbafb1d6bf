"""Audio frames that create Pipecat's id, name and metadata only when asked.

Pipecat sets these when a frame is constructed, which costs time a hundred times a second and call,
and an audio frame is hardly ever asked for them. The constructors take the same arguments as
Pipecat's, so that a step may construct another frame of the same class.
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
    """A frame that sets the attributes of all frames when one of them is first read."""

    def __getattr__(self, name: str) -> Any:
        if name not in _SET_LATE or name in vars(self):
            raise AttributeError(name, name=name, obj=self)
        given = dict(vars(self))
        Frame.__post_init__(self)
        vars(self).update(given)
        return vars(self)[name]


class CallerSound(_LateFrame, InputAudioRawFrame):
    """Audio of the caller: PCM16 at `sample_rate` Hz."""

    def __init__(self, audio: bytes, sample_rate: int, num_channels: int = 1) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.num_channels = num_channels
        self.num_frames = len(audio) // (2 * num_channels)


class AgentSound(_LateFrame, TTSAudioRawFrame):
    """Audio of the agent: PCM16 at `sample_rate` Hz."""

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
