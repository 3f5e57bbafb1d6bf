from google.genai import types

from pipelines.gemini.resumption import Resumption


def resumable(handle: str | None) -> types.LiveServerMessage:
    update = types.LiveServerSessionResumptionUpdate(
        new_handle=handle, resumable=handle is not None
    )
    return types.LiveServerMessage(session_resumption_update=update)


def test_the_newest_handle_is_kept() -> None:
    resumption = Resumption()
    took = [resumption.take(message) for message in map(resumable, ("one", "two", None))]
    assert took == [True, True, False]
    assert resumption.handle == "two"


def test_what_is_said_is_covered_when_a_handle_has_come() -> None:
    resumption = Resumption()
    resumption.take(resumable("one"))
    assert resumption.is_covered
    resumption.spoke()
    assert not resumption.is_covered
    resumption.take(resumable(None))
    assert not resumption.is_covered
    resumption.take(resumable("two"))
    assert resumption.is_covered


def test_a_resumed_session_is_not_covered_before_its_own_first_handle() -> None:
    resumption = Resumption("one")
    assert not resumption.is_covered
    resumption.take(resumable("two"))
    assert resumption.is_covered


def test_a_session_without_handles_has_nothing_to_lose() -> None:
    resumption = Resumption()
    resumption.spoke()
    assert resumption.is_covered
