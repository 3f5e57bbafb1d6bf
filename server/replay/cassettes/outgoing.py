"""What our side did in a call, out of the messages of a cassette: sound, marks, words, turns.

Sound is compared as a stream of bytes, because a loop that was late joins or parts packets.
"""

import base64
import bisect
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.recording.tape import Kind
from server.cassettes.columns import Message, SentSound

# Figures that depend on the machine, and what only a server tells.
_NOT_COMPARED = ("latency.", "model.connected", "cassette.", "recording.", "stream.")


@dataclass
class SoundOut:
    """The agent's mu-law in the order sent, with when each piece was sent.

    `signs` are marks and clears: (position in bytes, seconds, what).
    """

    audio: bytearray = field(default_factory=bytearray)
    pieces: list[tuple[int, float]] = field(default_factory=list)
    signs: list[tuple[int, float, str]] = field(default_factory=list)

    def sent_at(self, position: int) -> float:
        """When the byte at this position was sent, in seconds of the cassette."""
        index = bisect.bisect_right(self.pieces, (position, float("inf"))) - 1
        return self.pieces[index][1] if index >= 0 else 0.0


@dataclass
class OurSide:
    """All that our side sent and recorded, in order, each with its time."""

    sound: SoundOut = field(default_factory=SoundOut)
    # By the number of the connection.
    heard: dict[int, list[tuple[float, SentSound]]] = field(default_factory=dict)
    told: list[tuple[float, Any]] = field(default_factory=list)
    turns: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    events: list[tuple[float, str, Any]] = field(default_factory=list)
    ending: tuple[float, str] | None = None


def our_side(messages: Iterable[Message]) -> OurSide:
    """Sort the messages."""
    side = OurSide()
    for message in messages:
        match message.kind:
            case Kind.PHONE_OUT:
                _take_phone(side.sound, message)
            case Kind.MODEL_HEARS:
                heard = side.heard.setdefault(message.wire, [])
                heard.append((message.at, message.content))
            case Kind.MODEL_OUT:
                side.told.append((message.at, _told(message.content)))
            case Kind.RECORD:
                _take_record(side, message)
            case Kind.ENDING if side.ending is None:
                side.ending = (message.at, message.content)
    return side


def phone_messages(messages: Iterable[Message]) -> list[str]:
    """The very messages to Twilio, in order."""
    return [message.content for message in messages if message.kind is Kind.PHONE_OUT]


def _take_phone(sound: SoundOut, message: Message) -> None:
    plain = json.loads(message.content)
    if plain["event"] == "media":
        sound.pieces.append((len(sound.audio), message.at))
        sound.audio += base64.b64decode(plain["media"]["payload"])
    else:
        name = plain.get("mark", {}).get("name", "")
        sound.signs.append((len(sound.audio), message.at, f"{plain['event']} {name}".strip()))


def _take_record(side: OurSide, message: Message) -> None:
    what, fields = message.content
    if what == "turn":
        side.turns.append((message.at, fields))
    elif what == "event" and not fields["kind"].startswith(_NOT_COMPARED):
        detail = {name: value for name, value in fields["detail"].items() if name != "ms"}
        side.events.append((message.at, fields["kind"], detail))


def _told(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
