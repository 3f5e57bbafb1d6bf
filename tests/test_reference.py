"""docs/reference and docs/api.md are what the code says."""

import runpy
from itertools import pairwise
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
REFERENCE = runpy.run_path(str(REPO / "docs" / "make_reference.py"))
CAPACITY = runpy.run_path(str(REPO / "docs" / "make_capacity.py"))
API = runpy.run_path(str(REPO / "docs" / "make_api.py"))


@pytest.mark.parametrize("name", REFERENCE["PAGES"])
def test_a_page_is_up_to_date(name: str) -> None:
    made = REFERENCE["MADE"] + REFERENCE["PAGES"][name]().rstrip() + "\n"
    page = (REPO / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == made, "make reference"


def test_the_api_page_is_up_to_date() -> None:
    assert (REPO / "docs" / "api.md").read_text(encoding="utf-8") == API["page"](), "make reference"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("live-call.md", "await transfer(phone_number: str)"),
        ("agent-profile.md", "| `silence_duration_ms` | `int \\| None` |"),
        ("steps.md", "### custom"),
        ("settings.md", "| `MAX_CONCURRENT_CALLS` | `int` | `50` | ≥ 1 |"),
        ("commands.md", "### `voice-ai calls transcript`"),
        ("commands.md", "* `--call-in <str>`"),
        ("../api.md", "### `GET /calls/{call_id}/result`"),
        ("../api.md", "| 409 | The Idempotency-Key was used with another body. |"),
        ("../api.md", '"silence_duration_ms": 500'),
    ],
)
def test_a_page_has_what_is_looked_up_in_it(name: str, says: str) -> None:
    assert says in (REPO / "docs" / "reference" / name).read_text(encoding="utf-8")


def test_everything_in_it_is_explained() -> None:
    unexplained = [
        f"{name}: {line}"
        for name in ("live-call.md", "steps.md")
        for line, after in _pairs(REFERENCE["PAGES"][name]())
        if line == "```" and after.startswith("#")
    ]
    fields = [
        line for line in REFERENCE["PAGES"]["agent-profile.md"]().splitlines() if "| `" in line
    ]
    assert unexplained == []
    assert [line for line in fields if line.endswith("|  |")] == []


def _pairs(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line]
    return list(pairwise(lines))


def test_the_table_of_what_many_calls_need_is_computed() -> None:
    page = (REPO / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert CAPACITY["table"]() in page
