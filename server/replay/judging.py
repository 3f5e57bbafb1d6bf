"""Judges Pipecat's `eval:` sentences with a Gemini text model, and keeps each verdict's reason.

Source: https://ai.google.dev/gemini-api/docs/structured-output
"""

import asyncio
from collections.abc import Sequence

from google import genai
from google.genai import types
from pydantic import BaseModel

from server.replay.results import Failure, Judgement, Replay, Verdict
from server.replay.scenario import Expectation, NotChecked, Turn

DEFAULT_MODEL = "gemini-flash-latest"
AT_ONCE = 4
WITHIN_SECS = 60.0

_ASK = """\
You judge one reply of an agent on a phone call. Judge only what the criterion asks for.

The call, turn by turn:
{transcript}

The reply that is judged is the agent's answer to: {said}
Criterion: {criterion}
"""


class _Answer(BaseModel):
    """What the model answers."""

    holds: bool
    reason: str


class Judge:
    """Asks one model."""

    def __init__(self, client: genai.Client, model: str = DEFAULT_MODEL) -> None:
        self._client = client
        self._model = model

    async def judge_all(self, replays: Sequence[Replay]) -> None:
        """Judge what the replays were asked for; a sentence that does not hold is a failure.

        What could not be judged, because the model did not answer, stays not checked.
        """
        places = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(
            *(
                self._judge(replay, turn, expectation, places)
                for replay in replays
                for turn in replay.scenario.turns
                for expectation in turn.expect
                if expectation.criterion is not None
            )
        )

    async def _judge(
        self, replay: Replay, turn: Turn, expectation: Expectation, places: asyncio.Semaphore
    ) -> None:
        criterion = expectation.criterion or ""
        async with places:
            try:
                answer = await asyncio.wait_for(
                    self._ask(replay, turn, criterion), timeout=WITHIN_SECS
                )
            except Exception as error:
                what = f"eval “{criterion}”: the judge did not answer: {type(error).__name__}"
                _settle(replay, criterion, NotChecked(expectation.where, what))
                return
        _settle(replay, criterion, None)
        replay.judged.append(Judgement(expectation.where, criterion, answer.holds, answer.reason))
        if not answer.holds:
            replay.failures.append(Failure(expectation.where, f"eval “{criterion}”", answer.reason))
            replay.verdict = Verdict.FAILED
        elif replay.verdict is Verdict.NOT_CHECKED:
            replay.verdict = Verdict.PASSED

    async def _ask(self, replay: Replay, turn: Turn, criterion: str) -> _Answer:
        transcript = "\n".join(f"{each['who']}: {each['text']}" for each in replay.transcript)
        said = turn.text or turn.dtmf or "nothing; the agent speaks first"
        answer = await self._client.aio.models.generate_content(
            model=self._model,
            contents=_ASK.format(transcript=transcript, said=said, criterion=criterion),
            config=types.GenerateContentConfig(
                temperature=0,
                response_mime_type="application/json",
                response_schema=_Answer,
            ),
        )
        return _Answer.model_validate_json(answer.text or "")


def _settle(replay: Replay, criterion: str, instead: NotChecked | None) -> None:
    """It was judged, or says why it was not."""
    opening = f"eval “{criterion}”"
    replay.not_checked[:] = [n for n in replay.not_checked if not n.what.startswith(opening)]
    if instead is not None:
        replay.not_checked.append(instead)
