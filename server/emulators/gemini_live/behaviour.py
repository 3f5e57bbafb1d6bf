"""How the emulated model behaves, whatever the script says. May be changed while it runs."""

from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class Behaviour:
    """Times in seconds.

    `pace` is how much faster than real time speech is generated; 0 sends it at once. Every
    `two_parts_every`-th message of speech has two parts; 0: none. `turn_complete` "after_playback"
    waits until what was sent would have been heard. `connection_life_secs` ends connections with a
    goAway that leaves `go_away_secs`. `client_content_speaks`: older models answer clientContent by
    itself, gemini-3 models need a realtime input. `models`: None takes every name.
    `resumable` False never gives a handle, `takes_handles` False refuses every one. `loudness` is
    what speech is multiplied by.
    `keeps_log` False keeps neither audio nor events, for long runs.
    """

    setup_secs: float = 0.0
    thinking_secs: float = 0.05
    pace: float = 4.0
    chunk_ms: int = 40
    two_parts_every: int = 8
    turn_complete: Literal["at_once", "after_playback"] = "at_once"
    connection_life_secs: float | None = None
    go_away_secs: float = 10.0
    resume_while_open: Literal["accept", "refuse"] = "accept"
    resumable: bool = True
    takes_handles: bool = True
    loudness: float = 1.0
    client_content_speaks: bool = False
    models: frozenset[str] | None = None
    keeps_log: bool = True
