"""Compares what our side did in a replay with what it did in the call, and finds the first change.

phone      the agent's mu-law byte for byte, its clears, and whether it comes later
model      what Gemini was told, and each packet that it heard
record     turns, events and how the conversation ended
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from server.cassettes.cassette import Cassette
from server.cassettes.columns import SentSound
from server.replay.cassettes.outgoing import OurSide, SoundOut, our_side
from server.replay.cassettes.replaying import Replayed
from server.replay.cassettes.step_trace import Culprit, StepTrace, first_to_differ

# A call's loop may have been so late; more is a change of ours.
LATE_SECS = 0.15
# At the end of a call the last packets meet the hang-up sooner or later.
END_SECS = 0.5
PACKET_BYTES = 160
_TEXT_AT_MOST = 160
_EDGE_PACKETS = 4
_CUT = " (interrupted)"

Where = Literal["sound", "time", "heard", "told", "turn", "event", "end"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was; `at` in seconds from the answer.

    `position` is that of the first byte of the agent's mu-law that differs, for `sound`.
    """

    where: Where
    at: float
    expected: str
    seen: str
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, the earliest first, and the step that the first of them comes from."""

    differences: tuple[Difference, ...]
    culprit: Culprit | None
    before: OurSide
    now: OurSide

    @property
    def is_same(self) -> bool:
        """Whether our side is what it was."""
        return not self.differences


def compare(cassette: Cassette, replayed: Replayed, trace: StepTrace | None = None) -> Comparison:
    """Compare a replay with its call; `trace` is of a replay that was the same as the call."""
    before, now = our_side(cassette.messages), our_side(replayed.messages)
    end = min(_end_of(before, cassette.duration_secs), _end_of(now, cassette.duration_secs))
    found = [
        *_sound(before.sound, now.sound, end),
        *_heard(before, now, end),
        *_told(before, now, end),
        *_turns(before, now),
        *_events(before, now),
        *_ending(before, now),
    ]
    answered = cassette.answered_at or 0.0
    found = [
        Difference(d.where, d.at - answered, d.expected, d.seen, d.position)
        for d in sorted(found, key=lambda d: d.at)
    ]
    culprit = None
    if found and trace is not None:
        culprit = first_to_differ(trace, replayed.trace)
    elif found:
        added = [step for step in replayed.trace.steps if step not in cassette.head.steps]
        culprit = Culprit(added[0], found[0].at + answered, is_new=True) if added else None
    return Comparison(tuple(found), culprit, before, now)


def _end_of(side: OurSide, otherwise: float) -> float:
    return side.ending[0] if side.ending is not None else otherwise


def _sound(before: SoundOut, now: SoundOut, end: float) -> list[Difference]:
    position = _first_difference(before.audio, now.audio)
    if position is not None:
        at = before.sent_at(min(position, max(0, len(before.audio) - 1)))
        if position < min(len(before.audio), len(now.audio)) or at < end - END_SECS:
            return [
                Difference(
                    "sound",
                    at,
                    _bytes_at(before, position),
                    _bytes_at(now, position),
                    position,
                )
            ]
    late = _first_late(before, now)
    return [*late, *([] if late else _signs(before, now, end))]


def _first_difference(before: bytes | bytearray, now: bytes | bytearray) -> int | None:
    """The position of the first byte that differs, or at which one of them ends."""
    if before == now:
        return None
    shared = min(len(before), len(now))
    low, high = 0, shared
    while low < high:  # the longest prefix that both share
        middle = (low + high + 1) // 2
        if before[:middle] == now[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _bytes_at(sound: SoundOut, position: int) -> str:
    shown = bytes(sound.audio[position : position + 8])
    if not shown:
        return f"the end of the agent's sound after {len(sound.audio)} bytes"
    return f"byte {position} of the agent's sound: {shown.hex(' ')}"


def _first_late(before: SoundOut, now: SoundOut) -> list[Difference]:
    for position, at in now.pieces:
        if position < len(before.audio) and at - before.sent_at(position) > LATE_SECS:
            was = before.sent_at(position)
            return [
                Difference(
                    "time",
                    was,
                    f"byte {position} of the agent's sound at {was:.3f} s of the cassette",
                    f"{(at - was) * 1000:.0f} ms later",
                    position,
                )
            ]
    return []


def _signs(before: SoundOut, now: SoundOut, end: float) -> list[Difference]:
    """Clears. Where marks are depends on how a busy loop joined packets of speech."""
    clears, later = ([s for s in sound.signs if s[2] == "clear"] for sound in (before, now))
    for index in range(max(len(clears), len(later))):
        was = clears[index] if index < len(clears) else None
        seen = later[index] if index < len(later) else None
        if was is not None and seen is not None and (was[0], was[2]) == (seen[0], seen[2]):
            if seen[1] - was[1] > LATE_SECS:
                late = f"{(seen[1] - was[1]) * 1000:.0f} ms later"
                return [Difference("time", was[1], _sign(was), late)]
            continue
        at = min(sign[1] for sign in (was, seen) if sign is not None)
        if at < end - END_SECS:
            return [Difference("sound", at, _sign(was), _sign(seen))]
    return []


def _sign(sign: tuple[int, float, str] | None) -> str:
    return "nothing more" if sign is None else f"{sign[2]!r} behind byte {sign[0]}"


def _heard(before: OurSide, now: OurSide, end: float) -> list[Difference]:
    """Packets that Gemini heard, of each connection."""
    for wire in sorted(before.heard.keys() | now.heard.keys()):
        was, seen = before.heard.get(wire, []), now.heard.get(wire, [])
        # Where a connection begins and ends among the caller's packets is the network's.
        edge = range(_EDGE_PACKETS)
        for skip in (*((0, i) for i in edge), *((i, 0) for i in edge)):
            if _differs_at(was[skip[0] :], seen[skip[1] :]) is None:
                was, seen = was[skip[0] :], seen[skip[1] :]
                break
        index = _differs_at(was, seen)
        if index is not None:
            at, packet = was[index]
            expected = f"packet {index} to Gemini with checksum {packet.crc:08x}"
            return [Difference("heard", at, expected, f"checksum {seen[index][1].crc:08x}")]
        shorter, longer = sorted((was, seen), key=len)
        if len(longer) - len(shorter) > _EDGE_PACKETS:
            at = longer[len(shorter)][0]
            if at < end - END_SECS:
                numbers = f"{len(was)} packets to Gemini", str(len(seen))
                return [Difference("heard", at, *numbers)]
    return []


def _differs_at(
    was: Sequence[tuple[float, SentSound]], seen: Sequence[tuple[float, SentSound]]
) -> int | None:
    pairs = enumerate(zip(was, seen, strict=False))
    return next((index for index, (one, other) in pairs if one[1] != other[1]), None)


def _told(before: OurSide, now: OurSide, end: float) -> list[Difference]:
    return _in_order("told", _without_handles(before.told), _without_handles(now.told), end)


def _without_handles(told: Sequence[tuple[float, Any]]) -> list[tuple[float, str]]:
    return [(at, str(what)) for at, what in told]


def _in_order(
    where: Where,
    before: Sequence[tuple[float, str]],
    now: Sequence[tuple[float, str]],
    end: float,
) -> list[Difference]:
    for (at, was), (seen_at, seen) in zip(before, now, strict=False):
        if was != seen:
            return [Difference(where, at, *_shortened(was, seen))]
        if seen_at - at > LATE_SECS:
            late = f"{(seen_at - at) * 1000:.0f} ms later"
            return [Difference("time", at, _short(was), late)]
    if len(before) > len(now) and before[len(now)][0] < end - END_SECS:
        at, was = before[len(now)]
        return [Difference(where, at, _short(was), "nothing")]
    if len(now) > len(before) and now[len(before)][0] < end - END_SECS:
        at, seen = now[len(before)]
        return [Difference(where, at, "nothing", _short(seen))]
    return []


def _turns(before: OurSide, now: OurSide) -> list[Difference]:
    """Turns of the record. Where one was cut is known to about a word."""

    def plain(turns: Sequence[tuple[float, dict[str, Any]]]) -> list[tuple[float, str]]:
        return [
            (at, f"{t['who']}{_CUT if t['interrupted'] else ''}: {t['text']}") for at, t in turns
        ]

    return _same_words("turn", plain(before.turns), plain(now.turns))


def _events(before: OurSide, now: OurSide) -> list[Difference]:
    def plain(events: Sequence[tuple[float, str, Any]]) -> list[tuple[float, str]]:
        return [(at, f"{kind} {detail}" if detail else kind) for at, kind, detail in events]

    return _same_words("event", plain(before.events), plain(now.events))


def _same_words(
    where: Where, before: Sequence[tuple[float, str]], now: Sequence[tuple[float, str]]
) -> list[Difference]:
    for (at, was), (_, seen) in zip(before, now, strict=False):
        if was != seen and not (where == "turn" and _is_cut_a_word_apart(was, seen)):
            return [Difference(where, at, *_shortened(was, seen))]
    if len(before) > len(now):
        at, was = before[len(now)]
        return [Difference(where, at, _short(was), "nothing")]
    if len(now) > len(before):
        at, seen = now[len(before)]
        return [Difference(where, at, "nothing", _short(seen))]
    return []


def _is_cut_a_word_apart(was: str, seen: str) -> bool:
    one, other = sorted((was.split(), seen.split()), key=len)
    cut = _CUT in was and _CUT in seen
    return cut and other[: len(one)] == one and len(other) - len(one) <= 1


def _ending(before: OurSide, now: OurSide) -> list[Difference]:
    if before.ending is None or now.ending is None or before.ending[1] == now.ending[1]:
        return []
    was, seen = (side.ending[1] or "ended from outside" for side in (before, now) if side.ending)
    return [Difference("end", before.ending[0], was, seen)]


def _shortened(was: str, seen: str) -> tuple[str, str]:
    """Both around the first character that differs."""
    shared = 0
    while shared < min(len(was), len(seen)) and was[shared] == seen[shared]:
        shared += 1
    start = max(0, shared - _TEXT_AT_MOST // 2)
    lead = "…" if start else ""
    return _short(lead + was[start:]), _short(lead + seen[start:])


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_AT_MOST else text[: _TEXT_AT_MOST - 1] + "…"
