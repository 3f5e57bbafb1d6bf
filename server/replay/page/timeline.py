"""The timeline of one call: lanes one under the other, one clock under all of them."""

from collections.abc import Sequence

from server.emulators.twilio.mulaw import RATE
from server.replay.page import lanes
from server.replay.page.elements import Html, element
from server.replay.page.figures import moment
from server.replay.page.scale import Scale
from server.replay.page.sound import HALF_HEIGHT, buckets_for, gain, secs_of, waveform
from server.replay.page.turns import Answered
from server.replay.results import Happened, Replay

# Said by the stretches of speech already.
_SPEECH_SAYS = frozenset(
    {
        *("user_started_speaking", "user_stopped_speaking", "user_transcription"),
        *("bot_started_speaking", "bot_stopped_speaking"),
        *("response", "tts_response", "llm_response", "llm_started"),
    }
)
_THUMBNAIL_BUCKETS = 160
# So close to an edge (of the whole), a label of the axis would be cut off.
_EDGE = 0.02


def drawn(replay: Replay, answers: Sequence[Answered]) -> Html | None:
    """The whole timeline; None when nothing is known of the call."""
    if not (replay.timeline or replay.speech or secs_of(replay.sound)):
        return None
    scale = Scale.of(replay)
    rows = _rows(replay, scale, answers)
    names = element(
        "div",
        [element("span", name, class_=f"lane {shape}") for shape, name, _ in rows],
        element("span", "", class_="lane axis"),
        class_="names",
        aria_hidden="true",
    )
    track = element(
        "div",
        _grid(scale),
        [element("div", content, class_=f"lane {shape}") for shape, _, content in rows],
        _barge_ins(replay, scale),
        element("i", element("b"), class_="pointer", hidden=True),
        element("i", class_="playhead", hidden=True),
        class_="track",
        role="group",
        aria_label="Timeline: arrow keys go from event to event, Enter shows one",
        data_start=f"{scale.start:.3f}",
        data_end=f"{scale.end:.3f}",
    )
    return element("div", names, element("div", track, class_="scroller"), class_="timeline")


def thumbnail(replay: Replay) -> Html:
    """The call as a small waveform: the caller above, the agent below."""
    sound = replay.sound
    secs = secs_of(sound)
    if not secs:
        return element("span", class_="thumb")
    shapes = []
    for who, side, top in (("caller", sound.caller, 0), ("agent", sound.agent, 2 * HALF_HEIGHT)):
        path = waveform(side, _THUMBNAIL_BUCKETS, secs, gain(sound))
        move = f"translate(0 {top + HALF_HEIGHT})"
        shapes.append(element("path", d=path, class_=who, transform=move) if path else None)
    return element(
        "svg",
        shapes,
        class_="thumb",
        viewBox=f"0 0 {_THUMBNAIL_BUCKETS} {4 * HALF_HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _rows(
    replay: Replay, scale: Scale, answers: Sequence[Answered]
) -> list[tuple[str, str, list[Html]]]:
    """Each lane that has something in it: its shape, its name, what is drawn."""
    rows = [("phone", "phone", lanes.phone(_of(replay, "phone"), scale))]
    sound = replay.sound
    if replay.speech or secs_of(sound):
        rows.append(("voice caller", "caller", _voice(replay, "caller", sound.caller, scale)))
        measured = lanes.responses(answers, scale)
        rows.append(("gap", "response" if measured else "", measured))
        rows.append(("voice agent", "agent", _voice(replay, "agent", sound.agent, scale)))
    if called := _of(replay, "tool"):
        drawn, used = lanes.tools(called, scale)
        rows.append((f"tools of{used}", "tools", drawn))
    if happened := _of(replay, "model"):
        over = max(replay.call_secs, happened[-1].at)
        rows.append(("model", "Gemini", lanes.model(happened, scale, over)))
    return rows


def _voice(replay: Replay, who: str, pcm: bytes, scale: Scale) -> list[Html]:
    stretches = [stretch for stretch in replay.speech if stretch.who == who]
    marks = [
        lanes.mark(event, scale) for event in _of(replay, who) if event.kind not in _SPEECH_SAYS
    ]
    content = [*lanes.speech(stretches, scale), *marks]
    secs = len(pcm) / 2 / RATE
    buckets = buckets_for(secs)
    if path := waveform(pcm, buckets, secs, gain(replay.sound)):
        wave = element(
            "svg",
            element("path", d=path),
            class_="wave",
            viewBox=f"0 {-HALF_HEIGHT} {buckets} {2 * HALF_HEIGHT}",
            preserveAspectRatio="none",
            style=scale.place(0.0, secs),
            aria_hidden="true",
        )
        content.append(wave)
    return content


def _barge_ins(replay: Replay, scale: Scale) -> list[Html]:
    return [
        element("i", class_="barge", style=f"left:{scale.at(event.at)}")
        for event in replay.timeline
        if event.kind == "bot_interrupted"
    ]


def _grid(scale: Scale) -> Html:
    marks = []
    length = scale.end - scale.start
    for secs, level in scale.ticks():
        text = element("b", _on_axis(secs))
        shape = f"level{level}"
        if secs - scale.start < _EDGE * length:
            shape += " leftmost"
        elif scale.end - secs < _EDGE * length:
            shape += " rightmost"
        marks.append(element("i", text, class_=shape, style=f"left:{scale.at(secs)}"))
    if scale.start < 0:
        marks.append(element("i", class_="answer", style=f"left:{scale.at(0.0)}"))
    return element("div", marks, class_="grid", aria_hidden="true")


def _on_axis(secs: float) -> str:
    return moment(secs).removesuffix(".0")


def _of(replay: Replay, lane: str) -> list[Happened]:
    return sorted((e for e in replay.timeline if e.lane == lane), key=lambda event: event.at)
