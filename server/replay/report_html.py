"""What replays came to, as one page that opens from a file and needs nothing else.

    title, result in a sentence, one square a call, all response times
    one row a call, that opens:
        what failed, and where in the scenario
        ▶ ────────●─────────────────────  its sound, and a timeline that can be pointed at
        transcript                 response times, what was not checked

Everything that comes from outside is text of the page, never markup; a content security policy
allows the page's own script alone, and no address.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from server.replay.page import call, summary
from server.replay.page.elements import Html, element, joined
from server.replay.page.sound import embedded_bytes
from server.replay.results import Replay, Verdict

# A page that a browser still opens at once, and that can be sent to somebody.
SOUND_AT_MOST = 24_000_000
# So many calls are open at first: more are found by their rows.
_OPEN_AT_FIRST = 3
_ICONS = {True: "%233c7a57", False: "%23b5382f"}


def write_html(
    replays: Sequence[Replay],
    path: Path,
    *,
    title: str = "Replay",
    sound_at_most: int = SOUND_AT_MOST,
    took_secs: float | None = None,
) -> None:
    """Write the page to `path`; folders on the way are made.

    The sound of all calls takes at most `sound_at_most` bytes of it; calls that did not pass come
    first, and the page says whose sound was left out. `took_secs` is how long all took on the
    wall's clock, where that is not the sum of the replays (several may have run at once).

    Raises: OSError when the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page(replays, title=title, sound_at_most=sound_at_most, took_secs=took_secs)
    path.write_text(text, encoding="utf-8")


def page(
    replays: Sequence[Replay],
    *,
    title: str = "Replay",
    sound_at_most: int = SOUND_AT_MOST,
    took_secs: float | None = None,
) -> str:
    """The whole page as text."""
    sounding = _with_sound(replays, sound_at_most)
    opened = _opened(replays)
    calls = [
        call.section(
            replay,
            number,
            opened=number - 1 in opened,
            with_sound=number - 1 in sounding,
        )
        for number, replay in enumerate(replays, 1)
    ]
    main = element(
        "main",
        summary.head(replays, title, took_secs),
        summary.filters(replays),
        element("div", calls, class_="calls"),
    )
    tip = element("div", id="tip", hidden=True, aria_hidden="true")
    script = _part("page.js")
    html = element("html", _head(replays, title, script), _body(main, tip, script), lang="en")
    return f"<!doctype html>\n{html}\n"


def _head(replays: Sequence[Replay], title: str, script: str) -> Html:
    good = all(replay.verdict is not Verdict.FAILED for replay in replays) and all(
        replay.verdict is not Verdict.BROKEN for replay in replays
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "media-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    icon = (
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
        f"<circle cx='8' cy='8' r='7' fill='{_ICONS[good]}'/></svg>"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href=icon),
        element("style", Html(_part("page.css"))),
    )


def _body(main: Html, tip: Html, script: str) -> Html:
    return element("body", joined([main, tip, element("script", Html(script))]))


def _with_sound(replays: Sequence[Replay], at_most: int) -> frozenset[int]:
    """The numbers (from 0) of the calls whose sound fits on the page."""
    left, chosen = at_most, set[int]()
    order = sorted(
        range(len(replays)),
        key=lambda number: (
            replays[number].verdict is Verdict.PASSED,
            replays[number].repetition,
            number,
        ),
    )
    for number in order:
        takes = embedded_bytes(replays[number].sound)
        if takes <= left:
            chosen.add(number)
            left -= takes
    return frozenset(chosen)


def _opened(replays: Sequence[Replay]) -> frozenset[int]:
    if len(replays) <= _OPEN_AT_FIRST:
        return frozenset(range(len(replays)))
    wrong = [
        number
        for number, replay in enumerate(replays)
        if replay.verdict in (Verdict.FAILED, Verdict.BROKEN)
    ]
    return frozenset(wrong[:_OPEN_AT_FIRST] or [0])


def _part(name: str) -> str:
    return (files("server.replay.page") / name).read_text(encoding="utf-8")
