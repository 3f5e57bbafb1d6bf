from google.genai import types

from pipelines.gemini.resumption import Resumption

GO_AWAY = types.LiveServerMessage(go_away=types.LiveServerGoAway(time_left="10s"))


def resumable(handle: str | None) -> types.LiveServerMessage:
    update = types.LiveServerSessionResumptionUpdate(
        new_handle=handle, resumable=handle is not None
    )
    return types.LiveServerMessage(session_resumption_update=update)


def test_the_newest_handle_is_kept_until_it_is_refused() -> None:
    resumption = Resumption()
    for message in (resumable("one"), resumable("two"), resumable(None)):
        resumption.take(message)
    assert resumption.handle == "two"
    resumption.refused()
    assert resumption.handle is None


def test_a_session_that_must_go_is_left_when_a_handle_knows_what_was_said() -> None:
    resumption = Resumption()
    resumption.spoke()
    resumption.take(GO_AWAY)
    assert not resumption.is_time_to_go
    resumption.take(resumable("one"))
    assert resumption.is_time_to_go
    resumption.opened()
    assert not resumption.is_time_to_go
