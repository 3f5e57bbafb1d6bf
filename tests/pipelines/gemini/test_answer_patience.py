"""Silence at the phone: when the caller is told to wait, and when nobody answers any more."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.answer_patience import LEAD_SECS, Action, AnswerWatch, Silence


def played(watch: AnswerWatch, until: float, agent_last: float | None = None) -> list[float]:
    """The moments of all actions, when the agent is heard last at `agent_last`."""
    now: float | None = watch.waits_since
    moments = []
    while now is not None and now < until:
        action, again = watch.look(Silence(now, watch.waits_since, agent_last))
        if action is not Action.NOTHING:
            moments.append(round(now, 2))
        now = again
    return moments


def test_the_caller_is_told_to_wait_within_the_patience_and_then_given_up() -> None:
    watch = AnswerWatch(2.5)
    watch.waits(10.0)
    assert played(watch, 100.0) == [12.4, 17.2]


def test_the_sentence_that_bridges_the_wait_is_waited_for() -> None:
    watch = AnswerWatch(2.5)
    watch.waits(10.0)
    action, _ = watch.look(Silence(12.4, 10.0, None))
    assert action is Action.FILL
    action, again = watch.look(Silence(14.8, 10.0, 15.6))
    assert (action, again) == (Action.NOTHING, 15.6 + 2.5 - LEAD_SECS)
    assert watch.look(Silence(18.0, 10.0, 15.6)) == (Action.GIVE_UP, None)


def test_nothing_is_done_while_the_caller_speaks_or_a_tool_runs() -> None:
    watch = AnswerWatch(2.5)
    watch.waits(10.0)
    for busy in ({"caller_speaks": True}, {"tool_runs": True}):
        action, again = watch.look(Silence(20.0, 10.0, None, **busy))
        assert action is Action.NOTHING
        assert again is not None
    assert watch.look(Silence(21.0, 10.0, None))[0] is Action.NOTHING
    assert watch.look(Silence(22.5, 10.0, None))[0] is Action.FILL


def test_an_answer_ends_the_wait_and_the_next_turn_begins_anew() -> None:
    watch = AnswerWatch(2.5)
    watch.waits(10.0)
    watch.sounds()
    watch.answered()
    assert watch.look(Silence(60.0, 10.0, 12.0)) == (Action.NOTHING, None)
    watch.waits(70.0)
    assert watch.cause == "no_answer"
    assert played(watch, 80.0) == [72.4, 77.2]


def test_a_reply_that_stops_half_way_is_waited_for_from_its_last_sound_on() -> None:
    watch = AnswerWatch(2.5)
    watch.waits(10.0)
    watch.sounds()
    assert watch.look(Silence(15.0, 10.0, 14.0)) == (Action.NOTHING, 16.4)
    assert watch.look(Silence(16.4, 10.0, 14.0))[0] is Action.FILL
    assert watch.cause == "half_reply"


def test_a_session_is_asked_again_once_a_turn() -> None:
    watch = AnswerWatch(2.5)
    assert not watch.may_prompt
    watch.waits(10.0)
    assert watch.may_prompt
    watch.prompted("empty_turn")
    assert not watch.may_prompt
    assert watch.cause == "empty_turn"


def test_no_patience_is_never_to_do_anything() -> None:
    watch = AnswerWatch(0)
    watch.waits(10.0)
    assert watch.look(Silence(1_000.0, 10.0, None)) == (Action.NOTHING, None)
    assert not watch.may_prompt


@given(
    st.lists(
        st.tuples(st.sampled_from(["waits", "sounds", "answered", "look"]), st.floats(0.01, 3.0)),
        max_size=80,
    )
)
def test_the_caller_is_told_to_wait_once_and_given_up_once_between_two_sounds(
    steps: list[tuple[str, float]],
) -> None:
    watch, now, done = AnswerWatch(2.5), 0.0, list[Action]()
    for step, secs in steps:
        now += secs
        match step:
            case "waits":
                watch.waits(now)
            case "sounds":
                watch.sounds()
                done.clear()
            case "answered":
                watch.answered()
                done.clear()
            case "look":
                action, again = watch.look(Silence(now, watch.waits_since, None))
                assert again is None or again > now
                if action is not Action.NOTHING:
                    done.append(action)
        assert done in ([], [Action.FILL], [Action.FILL, Action.GIVE_UP])
