"""Watchdog: has the caller hear something within the patience of the profile, whatever Gemini does.

One timer a call, which runs only while the caller waits for an answer. `answer_watch` decides.
"""

import asyncio
from collections.abc import Callable

from agent.measures import MeasureSink, ModelDeadAir
from agent.ports import Record
from pipelines.gemini.answer_watch import Action, AnswerWatch, Silence
from pipelines.phone.caller_speech import CallerSpeech

# Shorter sounds are answered when the model transcribes them: a cough is nothing to answer.
SPEECH_SECS = 0.4


class Watchdog:
    """Arms the timer, and carries out what `AnswerWatch` decides."""

    def __init__(
        self,
        watch: AnswerWatch,
        speech: CallerSpeech,
        agent_last: Callable[[], float | None],
        record: Record,
        measure: MeasureSink,
        *,
        is_on: Callable[[], bool],
        agent_speaks: Callable[[], bool],
        tool_runs: Callable[[], bool],
        fill: Callable[[str], None],
        give_up: Callable[[str], None],
    ) -> None:
        """`agent_last` says when the agent is heard last, `agent_speaks` whether that goes on.

        `is_on`: the conversation goes on, and somebody is on the line. `fill` says something, and
        looks for another session; `give_up` ends the conversation. Both are told the cause.
        """
        self.watch = watch
        self._speech = speech
        self._agent_last = agent_last
        self._agent_speaks = agent_speaks
        self._record = record
        self._measure = measure
        self._is_on = is_on
        self._tool_runs = tool_runs
        self._fill = fill
        self._give_up = give_up
        self._timer: asyncio.TimerHandle | None = None

    @property
    def somebody_waits(self) -> bool:
        """The caller waits for an answer, or for the rest of one."""
        return self.watch.waits_since is not None

    def caller_stopped(self) -> None:
        """The caller has spoken; over the agent, without stopping it, this is no turn."""
        stretch = self._speech.stretches[-1] if self._speech.stretches else None
        if stretch is None or stretch.end - stretch.start < SPEECH_SECS:
            return
        if not self._agent_speaks():
            self.waits(stretch.end)

    def caller_was_transcribed(self) -> None:
        """The model has understood words of the caller."""
        last = self._speech.last_sound
        if not self._agent_speaks():
            self.waits(_now() if last is None else last)

    def waits(self, since: float | None = None) -> None:
        """The caller waits from now on, or since then."""
        self.watch.waits(_now() if since is None else since)
        self._look_at(_now())

    def sounds(self) -> None:
        """A reply is heard."""
        self.watch.sounds()
        if not self.somebody_waits:
            self.watch.waits(_now())
            self._look_at(_now())

    def answered(self) -> None:
        """The reply is complete."""
        self.watch.answered()
        self.stop()

    def empty_turn(self, *, near_silent: bool) -> bool:
        """The model ended a turn that nobody could hear; returns whether to ask it again."""
        if not self._is_on() or not self.watch.may_prompt or self._tool_runs():
            return False
        cause = "near_silent" if near_silent else "empty_turn"
        self.watch.prompted(cause)
        self._note(cause, "prompted")
        return True

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, at: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._is_on():
            self.watch.answered()
            return
        silence = Silence(
            now=_now(),
            caller_last=self._speech.last_sound,
            agent_last=self._agent_last(),
            caller_speaks=self._speech.onset is not None and self._speech.loud,
            tool_runs=self._tool_runs(),
        )
        action, again = self.watch.look(silence)
        if again is not None:
            self._look_at(again)
        if action is Action.FILL:
            self._note(self.watch.cause, "filled")
            self._fill(self.watch.cause)
        elif action is Action.GIVE_UP:
            self._note(self.watch.cause, "given_up")
            self._give_up(self.watch.cause)

    def _note(self, cause: str, action: str) -> None:
        self._measure(ModelDeadAir(cause, action))
        self._record.event("model.dead_air", {"cause": cause, "action": action})


def _now() -> float:
    return asyncio.get_running_loop().time()
