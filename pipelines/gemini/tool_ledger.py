"""ToolLedger: a call's tool calls, whichever session asked. Decides what runs and who is told.

    asked ─▶ RUNNING ─ done ─▶ UNTOLD ─ told ─▶ TOLD ─ a handle covers it ─▶ forgotten
              ▲ asked again: the same run       │
              └──── asked again ────┘           └─ session lost: UNTOLD

The same call is one with the same name and arguments. It runs once while it runs, or while its
result is untold; after that, asking again is a new call.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Status(Enum):
    """How far a tool call is."""

    RUNNING = auto()
    UNTOLD = auto()
    TOLD = auto()


@dataclass(eq=False, slots=True)
class Entry:
    """One run of a tool. `askers` are the ids under which the session that is open asked."""

    name: str
    arguments: Mapping[str, Any]
    askers: list[str] = field(default_factory=list)
    status: Status = Status.RUNNING
    response: dict[str, Any] = field(default_factory=dict)
    # The session was told in words, and may ask for it all the same while it answers the turn.
    briefed: bool = False


class ToolLedger:
    """Values in, values out: the caller runs tools and sends answers."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    @property
    def running(self) -> list[Entry]:
        """What runs, oldest first."""
        return [entry for entry in self._entries.values() if entry.status is Status.RUNNING]

    @property
    def is_open(self) -> bool:
        """A call runs, or the model has not spoken of its result."""
        return bool(self._entries)

    @property
    def results(self) -> list[Entry]:
        """What has a result that no handle is known to cover."""
        done = (Status.UNTOLD, Status.TOLD)
        return [entry for entry in self._entries.values() if entry.status in done]

    @property
    def untold(self) -> list[Entry]:
        """What has a result that no session is known to have."""
        return [entry for entry in self._entries.values() if entry.status is Status.UNTOLD]

    def asked(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> tuple[Entry, bool]:
        """The entry of a call that a session asks for, and whether it has to be run."""
        key = f"{name} {json.dumps(arguments, sort_keys=True, default=str)}"
        entry = self._entries.get(key)
        if entry is not None and (entry.status is not Status.TOLD or entry.briefed):
            entry.askers.append(call_id)
            if entry.status is Status.TOLD:
                entry.status = Status.UNTOLD
            return entry, False
        entry = self._entries[key] = Entry(name, arguments, [call_id])
        return entry, True

    def done(self, entry: Entry, response: dict[str, Any]) -> None:
        """It has run."""
        entry.response = response
        entry.status = Status.UNTOLD

    def told(self, entry: Entry, *, briefed: bool = False) -> None:
        """Its result was sent to the session that is open, or is part of its briefing."""
        entry.status = Status.TOLD
        entry.briefed = briefed
        entry.askers.clear()

    def canceled(self, call_id: str) -> Entry | None:
        """The session takes a call back; returns what nobody else waits for, to be stopped."""
        for key, entry in self._entries.items():
            if call_id in entry.askers:
                entry.askers.remove(call_id)
                if entry.askers or entry.status is not Status.RUNNING:
                    return None
                del self._entries[key]
                return entry
        return None

    def session_lost(self) -> None:
        """The session is gone, with its ids, and with what no handle covers."""
        for entry in self._entries.values():
            entry.askers.clear()
            if entry.status is Status.TOLD:
                entry.status = Status.UNTOLD

    def kept(self) -> None:
        """A handle covers what was told so far, or the model has spoken of it."""
        for key in [key for key, entry in self._entries.items() if entry.status is Status.TOLD]:
            del self._entries[key]
