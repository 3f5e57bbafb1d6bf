"""The page: what is drawn, what is said, and that nothing from outside is markup."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from server.replay.page.sound import data_uri
from server.replay.report_html import page, write_html
from server.replay.results import Failure, Happened, Replay, Stretch, Verdict
from server.replay.scenario import NotChecked, Scenario, Where
from tests.server.replay import samples

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--"


class Node:
    """An element of the page."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Node | str] = []

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def text(self) -> str:
        return "".join(it if isinstance(it, str) else it.text for it in self.children)

    def all(self, name: str = "", class_: str = "") -> list["Node"]:
        return [
            node
            for node in self._walk()
            if (not name or node.name == name) and (not class_ or class_ in node.classes)
        ]

    def one(self, name: str = "", class_: str = "") -> "Node":
        (found,) = self.all(name, class_)
        return found

    def _walk(self) -> Iterator["Node"]:
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child._walk()


class Reader(HTMLParser):
    """Reads a page, and refuses what does not close where it should."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(node)
        if tag not in ("meta", "link", "input"):
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    @classmethod
    def read(cls, text: str) -> Node:
        reader = cls()
        reader.feed(text)
        reader.close()
        assert reader._open == [reader.root]
        return reader.root


def shown(*replays: Replay) -> Node:
    return Reader.read(page(replays))


def test_the_head_says_what_came_of_all_calls() -> None:
    root = shown(*samples.one_of_each())
    assert root.one("h1").text.replace("\N{NARROW NO-BREAK SPACE}", " ") == (
        "2 of 5 calls passed, 1 failed, 1 broken, 1 not checked"
    )
    squares = root.one("nav", "squares").all("a")
    assert [square.classes[1] for square in squares] == [
        *("passed", "failed", "broken", "not-checked", "passed")
    ]
    ids = [call.attributes["id"] for call in root.all("details", "call")]
    assert [square.attributes["href"] for square in squares] == [f"#{it}" for it in ids]
    filters = {
        it.attributes["data-filter"]: it.text
        for it in root.one("div", "filters").all()
        if "data-filter" in it.attributes
    }
    assert filters["all"] == "All5"
    assert filters["failed"] == "Failed1"


@pytest.mark.parametrize(
    ("replays", "result"),
    [
        ([], "No calls"),
        ([samples.barge_in()], "The call passed"),
        ([samples.failed()], "The call failed"),
        ([samples.broken()], "The replay broke"),
        ([samples.not_checked()], "The call was not checked"),
        ([samples.barge_in(), samples.no_answer()], "All 2 calls passed"),
    ],
)
def test_the_result_is_a_sentence(replays: list[Replay], result: str) -> None:
    heading = shown(*replays).one("h1").text
    assert heading.replace("\N{NARROW NO-BREAK SPACE}", " ") == result


def test_the_head_has_the_walls_time_where_calls_were_played_at_once() -> None:
    replays = [samples.barge_in(), samples.barge_in()]
    text = Reader.read(page(replays, took_secs=0.92)).text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "the calls lasted 46.0 s; replayed in 0.92 s, 50× as fast." in text


def test_notes_are_told() -> None:
    call = samples.barge_in()
    call.notes = ["tool order_pizza failed: KeyError: 'oven' (pizza.py:21)"]
    assert call.notes[0] in shown(call).one(class_="notes").text


def test_the_timeline_has_a_lane_for_each_that_did_something() -> None:
    track = shown(samples.barge_in()).one("div", "track")
    lanes = [lane.classes[1:] for lane in track.all("div", "lane")]
    assert lanes == [
        ["phone"],
        ["voice", "caller"],
        ["gap"],
        ["voice", "agent"],
        ["tools", "of1"],
        ["model"],
    ]
    stretches = track.all("button", "stretch")
    assert [it.attributes["data-text"] for it in stretches if "caller" in it.classes] == [
        "What should I bring with me?",
        "Sorry, can I come on Friday instead?",
        "Thank you, goodbye.",
    ]
    (cut,) = (it for it in stretches if "cut" in it.classes)
    assert cut.attributes["data-text"].startswith("Please bring")
    assert len(track.all("i", "barge")) == 1
    assert [it.text for it in track.all("span", "took")] == [
        f"{ms}\N{NARROW NO-BREAK SPACE}ms" for ms in (880, 1400, 900)
    ]


def test_what_happened_stands_at_its_time() -> None:
    track = shown(samples.barge_in()).one("div", "track")
    start, end = (float(track.attributes[f"data-{name}"]) for name in ("start", "end"))
    items = track.all("button", "item")
    assert items
    for item in items:
        found = re.match(r"left:([\d.]+)%", item.attributes["style"])
        assert found is not None
        at = start + (end - start) * float(found[1]) / 100
        assert at == pytest.approx(float(item.attributes["data-at"]), abs=0.01)


def test_function_calls_last_from_their_call_to_their_end() -> None:
    move, hang_up = shown(samples.barge_in()).all("button", "tool")
    assert move.text == 'move_appointment(wish="Friday")'
    width = re.search(r"width:([\d.]+)%", move.attributes["style"])
    assert width is not None
    assert float(width[1]) / 100 * (24 * 1.02) == pytest.approx(0.6, abs=0.01)
    assert ["took", "never answered"] in json.loads(hang_up.attributes["data-facts"])


def test_sessions_of_the_model_and_how_one_was_lost() -> None:
    lane = shown(samples.failed()).one("div", "track").all("div", "model")[0]
    assert [it.text for it in lane.all("span", "session-name")] == ["session 1", "session 2"]
    (wrong,) = lane.all("button", "wrong")
    assert wrong.attributes["data-at"] == "7.000"
    assert wrong.attributes["data-name"] == "session lost"


def test_both_voices_are_waveforms_and_can_be_heard() -> None:
    call = samples.barge_in()
    root = shown(call)
    waves = root.all("svg", "wave")
    assert len(waves) == 2
    assert all(wave.one("path").attributes["d"].startswith("M") for wave in waves)
    thumbnail = root.one("svg", "thumb")
    assert [path.classes for path in thumbnail.all("path")] == [["caller"], ["agent"]]
    assert root.one("audio").attributes["src"] == data_uri(call.sound)


def test_the_transcript_has_times_and_says_what_was_interrupted() -> None:
    lines = shown(samples.barge_in()).one("section", "transcript").all("li")
    assert [line.classes[0] for line in lines][:3] == ["agent", "caller", "agent"]
    assert lines[1].one("button", "time").text == "0:06.0"
    assert lines[1].one("button", "time").attributes["data-seek"] == "6.000"
    assert [bool(line.all("span", "cut")) for line in lines] == [False] * 2 + [True] + [False] * 4


def test_without_a_record_the_transcript_is_what_was_spoken() -> None:
    call = samples.barge_in()
    call.transcript = []
    section = shown(call).one("section", "transcript")
    assert len(section.all("li")) == 7
    assert "the record holds no turns" in section.text


def test_response_times_are_bars_on_one_scale() -> None:
    bars = shown(samples.barge_in()).all("div", "response-bar")
    assert [bar.one("span", "said").text for bar in bars] == [
        "first sound after the answer",
        "What should I bring with me?",
        "Sorry, can I come on Friday instead?",
        "Thank you, goodbye.",
    ]
    widths = [bar.one("i").attributes["style"] for bar in bars]
    assert widths == ["width:21.00%", "width:44.00%", "width:70.00%", "width:45.00%"]
    (slow,) = shown(samples.failed()).all("div", "slow")
    assert slow.one("span", "said").text == "What are your opening hours?"


def test_failures_say_where_what_was_expected_and_what_was_seen() -> None:
    first, second = shown(samples.failed()).all("div", "failure")
    assert first.one("code").text == "scenarios/appointments.yaml:47"
    assert [it.text for it in first.all("dd")] == [
        "response with “nine to five” within 3000 ms",
        "response came late, at 12.40 s",
    ]
    assert second.one("code").text == "scenarios/appointments.yaml:58"


def test_what_was_not_checked_is_told_with_its_place() -> None:
    (line,) = shown(samples.failed()).one("section", "not-checked-list").all("li")
    assert line.one("span").text == "eval: the agent sounds friendly"
    assert line.one("code").text == "scenarios/appointments.yaml:49"


def test_a_replay_that_broke_says_why_and_draws_nothing() -> None:
    root = shown(samples.broken())
    assert "did not become ready" in root.one("section", "failures").text
    assert not root.all("div", "track")
    assert not root.all("audio")


def test_a_call_that_nobody_answered_has_a_timeline_without_voices() -> None:
    track = shown(samples.no_answer()).one("div", "track")
    assert [lane.classes for lane in track.all("div", "lane")] == [["lane", "phone"]]
    assert [pin.text for pin in track.all("button", "pin")] == ["rings", "no answer"]
    assert len(track.all("i", "ring")) == 1


def test_what_went_wrong_is_open_at_first() -> None:
    calls = shown(*samples.one_of_each()).all("details", "call")
    assert ["open" in call.attributes for call in calls] == [False, True, True, False, False]
    good = [samples.repetition(samples.no_answer(), number) for number in range(1, 6)]
    calls = shown(*good).all("details", "call")
    assert ["open" in call.attributes for call in calls] == [True] + [False] * 4
    assert [call.one("h2").text for call in calls][:2] == [
        "appointments/no_answer",
        "appointments/no_answer[2]",
    ]


def hostile() -> Replay:
    where = Where(Path(f"{HOSTILE}.yaml"), 3)
    call = samples.conversation(
        "hostile",
        [Stretch("agent", 0.5, 2.0, HOSTILE), Stretch("caller", 3.0, 4.0, HOSTILE, True)],
        happened=[
            Happened(
                2.5, "tool", "function_call", detail={"name": HOSTILE, "args": {HOSTILE: HOSTILE}}
            ),
            Happened(2.6, "phone", HOSTILE, HOSTILE, {HOSTILE: HOSTILE}),
            Happened(2.7, "model", HOSTILE, HOSTILE, {HOSTILE: [HOSTILE]}),
            Happened(2.8, "caller", HOSTILE, HOSTILE),
        ],
        response_ms=[500],
    )
    call.scenario = Scenario(HOSTILE, where)
    call.verdict = Verdict.FAILED
    call.failures = [Failure(where, HOSTILE, HOSTILE)]
    call.not_checked = [NotChecked(where, HOSTILE)]
    call.problem = call.status = call.end_reason = call.call_id = HOSTILE
    call.transcript.append({"who": HOSTILE, "text": HOSTILE, "start_ms": None})
    return call


def test_nothing_from_outside_becomes_markup() -> None:
    text = page([hostile(), hostile()], title=HOSTILE)
    root = Reader.read(text)
    assert len(root.all("script")) == 1
    assert not root.all("img")
    assert not [node for node in root.all() if any(it.startswith("on") for it in node.attributes)]
    assert root.one("title").text == HOSTILE
    assert root.all("h2")[0].text == HOSTILE
    assert [it.text for it in root.all("div", "failure")[0].all("dd")] == [HOSTILE, HOSTILE]
    stretch = root.all("button", "stretch")[0]
    assert stretch.attributes["data-text"] == HOSTILE


def test_the_policy_allows_the_pages_own_script_and_no_address() -> None:
    root = shown(samples.barge_in())
    policies = [
        it.attributes["content"]
        for it in root.all("meta")
        if it.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = b64encode(sha256(root.one("script").text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policies[0]
    assert "default-src 'none'" in policies[0]
    for node in root.all():
        for name in ("src", "href"):
            assert node.attributes.get(name, "data:").startswith(("data:", "#"))
    assert "url(" not in root.one("style").text
    assert "@import" not in root.one("style").text


def test_sound_that_does_not_fit_is_left_out_and_the_page_says_so() -> None:
    passed, failed = samples.barge_in(), samples.failed()
    room = len(data_uri(failed.sound)) + 1_000
    root = Reader.read(page([passed, failed], sound_at_most=room))
    first, second = root.all("details", "call")
    assert not first.all("audio")
    assert first.all("svg", "wave")
    assert "sound was left out" in first.text
    assert second.one("audio").attributes["src"] == data_uri(failed.sound)


def test_a_call_of_five_minutes_stays_small_beside_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "replay.html"
    call = samples.long_call()
    write_html([call], path, title="Five minutes")
    sound_bytes = len(data_uri(call.sound))
    assert sound_bytes < 7_000_000
    assert path.stat().st_size - sound_bytes < 400_000


def test_the_same_replays_make_the_same_page() -> None:
    assert page(samples.one_of_each()) == page(samples.one_of_each())
