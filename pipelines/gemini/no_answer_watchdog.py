"""Watchdog: has the caller hear something within the patience of the profile, whatever Gemini does.

    silence                           a sentence, and a fresh session beside the one that serves
    silence again                     a person takes the call, or it ends with an apology
    a turn that nobody could hear     the model is asked again, once

One timer a call, which runs only while the caller waits for an answer. `AnswerWatch` decides about
silence, `TurnSound` about turns.
"""

import asyncio
from collections.abc import Awaitable, Callable

from agent.measures import MeasureSink, ModelDeadAir
from agent.model_instructions import CALLER_WAITS, NOT_HEARD
from agent.ports import Record
from agent.record.models import EndReason
from pipelines.call.hangup import HangupController
from pipelines.gemini import client_message
from pipelines.gemini.answer_patience import Action, AnswerWatch, Silence
from pipelines.gemini.filler import Filler
from pipelines.gemini.model_setup import ModelSetup
from pipelines.gemini.session import GeminiSession
from pipelines.gemini.tool_calls import ToolCalls
from pipelines.gemini.turn_sound import TurnEnd, TurnSound
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.playback import Playback

# Shorter sounds are answered when the model transcribes them: a cough is nothing to answer.
SPEECH_SECS = 0.4


class Watchdog:
    """Arms the timer, and carries out what is decided, for one call."""

    def __init__(
        self,
        setup: ModelSetup,
        session: GeminiSession,
        tool_calls: ToolCalls,
        filler: Filler,
        hangup: HangupController,
        speech: CallerSpeech,
        playback: Playback,
        record: Record,
        measure: MeasureSink,
        *,
        interrupt: Callable[[], Awaitable[None]],
    ) -> None:
        """`interrupt` takes back from the phone what has yet to be played."""
        self._watch = AnswerWatch(setup.profile.answer_patience_secs)
        # The turn of the model that goes on, or comes next.
        self.turn = TurnSound()
        self._setup = setup
        self._session = session
        self._tool_calls = tool_calls
        self._filler = filler
        self._hangup = hangup
        self._speech = speech
        self._playback = playback
        self._record = record
        self._measure = measure
        self._interrupt = interrupt
        self._timer: asyncio.TimerHandle | None = None

    @property
    def somebody_waits(self) -> bool:
        """The caller waits for an answer, or for the rest of one."""
        return self._watch.waits_since is not None

    # --- what the caller does ----------------------------------------------------------------

    def caller_stopped(self) -> None:
        """The caller has spoken; over the agent, without stopping it, this is no turn."""
        stretch = self._speech.stretches[-1] if self._speech.stretches else None
        if stretch is None or stretch.end - stretch.start < SPEECH_SECS:
            return
        if not self._playback.speaking:
            self.waits(stretch.end)

    def caller_was_transcribed(self) -> None:
        """The model has understood words of the caller."""
        last = self._speech.last_sound
        if not self._playback.speaking:
            self.waits(_now() if last is None else last)

    def waits(self, since: float | None = None) -> None:
        """The caller waits from now on, or since then."""
        self._watch.waits(_now() if since is None else since)
        self._look_at(_now())

    # --- what the model does -----------------------------------------------------------------

    def connected(self) -> None:
        """Another connection serves: the turn of the one before is over."""
        self.turn = TurnSound()

    def model_speaks(self, pcm: bytes) -> None:
        """The model speaks (PCM16): to be called until the turn is audible."""
        if not self.turn.add(pcm, self._playback.last_sound):
            return
        self._session.speaks()
        self._watch.sounds()
        if not self.somebody_waits:
            self._watch.waits(_now())
            self._look_at(_now())

    def reply_is_generated(self) -> None:
        """No more speech of this reply comes."""
        if self.turn.is_audible:
            self._answered()

    async def turn_is_over(self) -> None:
        """Ask again when the caller waits, and nothing of the turn could be heard."""
        end = self.turn.end()
        self.turn = TurnSound()
        if end is TurnEnd.HEARD:
            self._answered()
        elif end is TurnEnd.NEAR_SILENT:
            await self._drop_speech()
            self._ask_again("near_silent", NOT_HEARD)
        elif end is TurnEnd.EMPTY:
            self._ask_again("empty_turn", CALLER_WAITS)

    async def drop_near_silence(self) -> None:
        """Take back what came of this turn, if nobody hears it: it would delay what comes."""
        if self.turn.is_near_silent:
            await self._drop_speech()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _drop_speech(self) -> None:
        if self._hangup.is_talking:
            await self._interrupt()

    def _answered(self) -> None:
        self._watch.answered()
        self.stop()
        self._filler.answered()

    def _ask_again(self, cause: str, text: str) -> None:
        may_ask = self._hangup.is_talking and self._watch.may_prompt
        if not may_ask or self._tool_calls.is_running:
            return
        self._watch.prompted(cause)
        self._note(cause, "prompted")
        self._session.send(client_message.text(text))

    # --- when it is silent -------------------------------------------------------------------

    def _look_at(self, at: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._hangup.is_talking:
            self._watch.answered()
            return
        silence = Silence(
            now=_now(),
            caller_last=self._speech.last_sound,
            agent_last=self.turn.last_heard(self._playback.last_sound),
            caller_speaks=self._speech.onset is not None and self._speech.loud,
            tool_runs=self._tool_calls.is_running,
        )
        action, again = self._watch.look(silence)
        if again is not None:
            self._look_at(again)
        if action is Action.FILL:
            self._fill(self._watch.cause)
        elif action is Action.GIVE_UP:
            self._give_up(self._watch.cause)

    def _fill(self, cause: str) -> None:
        """Have the caller hear something, and another session try."""
        self._note(cause, "filled")
        self._session.hedge(cause)
        self._filler.begin(self._setup.profile)

    def _give_up(self, cause: str) -> None:
        """Neither session answers: a person does, or the call ends with an apology."""
        self._note(cause, "given_up")
        self._hangup.fail(EndReason.NO_MODEL, f"Gemini fell silent ({cause})")

    def _note(self, cause: str, action: str) -> None:
        self._measure(ModelDeadAir(cause, action))
        self._record.event("model.dead_air", {"cause": cause, "action": action})


def _now() -> float:
    return asyncio.get_running_loop().time()
