"""Lines of conversations: one call has none of the marks that tell two calls apart."""

from types import SimpleNamespace
from typing import Any

import pytest

from server.demo.conversation_lines import ConversationLines

Lines = list[str]


class Scene:
    """Calls and sessions that do what a test says, and the lines that come of it."""

    def __init__(self) -> None:
        self.lines: Lines = []
        self.told = ConversationLines(lambda who, what: self.lines.append(f"{who}: {what}"))

    def phone(self, sid: str, kind: str, **detail: Any) -> None:
        """A moment of a call."""
        call: Any = SimpleNamespace(sid=sid)
        moment: Any = SimpleNamespace(kind=kind, detail=detail)
        self.told.phone(call, moment)

    def model(self, session: Any, kind: str, message: Any = None) -> None:
        """An event of a session."""
        event: Any = SimpleNamespace(kind=kind, message=message)
        self.told.model(session, event)


class OneSession:
    """A session of the model."""

    def __init__(self, number: int, resumes: Any = None) -> None:
        self.number, self.resumes, self.is_open = number, resumes, True


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_prepared_while_it_rings_is_told_at_the_answer(scene: Scene) -> None:
    session = OneSession(1)
    scene.model(session, "setup")
    scene.phone("CA1", "queued")
    scene.phone("CA1", "ringing")
    scene.model(session, "says", "Good day!")
    assert scene.lines == ["phone: rings"]
    scene.phone("CA1", "in-progress")
    scene.phone("CA1", "completed")
    assert scene.lines[1:] == [
        "phone: is picked up",
        "agent: Good day!",
        "phone: the line is closed",
    ]


def test_each_line_has_the_number_of_its_call_as_soon_as_there_are_two(scene: Scene) -> None:
    first, second = OneSession(1), OneSession(2)
    for sid, session in (("CA1", first), ("CA2", second)):
        # The session may be opened before Twilio is asked to dial.
        scene.model(session, "setup")
        scene.phone(sid, "queued")
        scene.phone(sid, "ringing")
    for sid in ("CA2", "CA1"):
        scene.phone(sid, "in-progress")
    scene.model(second, "says", "Bakery.")
    scene.model(first, "says", "Butcher.")
    again = OneSession(3)
    scene.model(again, "setup")
    again.resumes = first
    scene.model(again, "says", "Still the butcher.")
    scene.phone("CA2", "completed")
    scene.model(second, "closed")
    scene.phone("CA1", "caller.says", text="Goodbye")
    assert scene.lines == [
        *("phone: rings", "phone: [2] rings"),
        *("phone: [2] is picked up", "phone: [1] is picked up"),
        *("agent: [2] Bakery.", "agent: [1] Butcher.", "agent: [1] Still the butcher."),
        *("phone: [2] the line is closed", "caller: [1] Goodbye"),
    ]
    scene.phone("CA1", "completed")
    # Something of a call that is over makes no call of it.
    scene.phone("CA1", "callback")
    scene.phone("CA3", "ringing")
    assert scene.lines[-1] == "phone: rings"
