"""Cassette: everything that passed a call's wires, read from a file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.recording.tape import Kind
from server.cassettes.blocks import BlockKind, CassetteError, blocks
from server.cassettes.columns import Message, Unreadable, decode


@dataclass(frozen=True, slots=True)
class Head:
    """What ran: `steps` are names, `settings` are without secrets, `began` since the epoch."""

    call_id: str
    phone_number: str
    pipeline: str
    steps: tuple[str, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    direction: str = "outbound"
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Cassette:
    """What one process saw of a call. A call that was carried on by another process has several.

    `end`: status and end_reason, None when the process did not see the end. `cut_off`: the file
    ends within a block, so at most a second of the call is missing there.
    """

    path: Path
    head: Head
    messages: tuple[Message, ...]
    end: Mapping[str, Any] | None = None
    cut_off: bool = False

    @property
    def answered_at(self) -> float | None:
        """When the first stream was bound, in seconds; None: nobody answered."""
        return next((m.at for m in self.messages if m.kind is Kind.PHONE_BOUND), None)

    @property
    def duration_secs(self) -> float:
        """From the start to the last message."""
        return self.messages[-1].at if self.messages else 0.0

    def of(self, *kinds: Kind) -> Iterator[Message]:
        """The messages of these kinds, in order."""
        return (message for message in self.messages if message.kind in kinds)


def read_cassettes(path: Path, key: bytes | None = None) -> list[Cassette]:
    """What each process saw of a call, in order; at least one.

    Raises: CassetteError.
    """
    found: list[Cassette] = []
    head: Head | None = None
    messages: list[Message] = []
    end: Mapping[str, Any] | None = None
    whole = 0
    try:
        size = path.stat().st_size
        for number, block in enumerate(blocks(path, key)):
            whole = block.ends_at
            try:
                if block.kind is BlockKind.HEAD:
                    if head is not None:
                        found.append(Cassette(path, head, tuple(messages), end))
                    head, messages, end = _head(block.content), [], None
                elif block.kind is BlockKind.MESSAGES:
                    messages += decode(block.content)
                else:
                    end = json.loads(block.content)
            except (Unreadable, ValueError, TypeError) as error:
                raise CassetteError(
                    f"{path}: block {number + 1}: expected what this version writes, got {error}"
                ) from None
    except OSError as error:
        raise CassetteError(f"{path}: it cannot be read: {error.strerror}") from None
    if head is None:
        raise CassetteError(f"{path}: it was cut off before its first whole block")
    return [*found, Cassette(path, head, tuple(messages), end, cut_off=whole < size)]


def _head(content: bytes) -> Head:
    plain = json.loads(content)
    known = {name: plain[name] for name in Head.__dataclass_fields__ if name in plain}
    return Head(**{**known, "steps": tuple(known.get("steps", ()))})
