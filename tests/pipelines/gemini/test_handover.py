"""What a session that takes over is told, in which order."""

from pipelines.gemini.handover import Situation, ToolState, hand_over

BOOKED = ToolState("book", {"day": "Monday"}, {"result": "booked"})
RUNS = ToolState("book", {"day": "Monday"})


def test_a_resumed_session_that_knows_everything_is_told_nothing() -> None:
    told = hand_over(Situation(resumed=True, replays=False))
    assert (told.notes, told.prompts) == ((), ())


def test_tool_results_come_first() -> None:
    told = hand_over(
        Situation(resumed=False, replays=True, conversation="Caller: Hi", tools=[BOOKED, RUNS])
    )
    assert ["booked" in note for note in told.notes] == [True, False, False]
    assert "still runs" in told.notes[1]
    assert "Caller: Hi" in told.notes[2]
    assert told.prompts == ()


def test_an_answer_that_broke_off_goes_on_after_the_audio() -> None:
    told = hand_over(Situation(resumed=True, replays=True, asked="When?", said="From  nine"))
    (note,) = told.notes
    assert '"From nine"' in note
    assert told.prompts == ()


def test_without_audio_the_words_are_told() -> None:
    (prompt,) = hand_over(Situation(resumed=True, replays=False, asked="When?")).prompts
    assert '"When?"' in prompt
    told = hand_over(Situation(resumed=True, replays=False, asked="When?", said="From nine"))
    (prompt,) = told.prompts
    assert '"When?"' in prompt
    assert '"From nine"' in prompt


def test_a_tool_that_runs_is_waited_for_and_a_result_makes_the_model_speak() -> None:
    told = hand_over(Situation(resumed=True, replays=False, asked="Book it.", tools=[RUNS]))
    assert told.prompts == ()
    told = hand_over(Situation(resumed=True, replays=False, asked="Book it.", tools=[BOOKED]))
    assert ["booked" in prompt for prompt in told.prompts] == [True]


def test_what_the_model_was_told_last_is_told_again() -> None:
    told = hand_over(Situation(resumed=True, replays=False, prompts=["[The caller pressed 1.]"]))
    assert told.prompts == ("[The caller pressed 1.]",)
