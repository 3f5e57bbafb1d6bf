"""GeminiSession: one call's session with Gemini Live, over any number of connections.

Caller audio stays in a ring until a session is known to keep it. A connection that is lost is
resumed by its handle, and sent again what it took with it; when Gemini refuses that, a new session
is told the conversation so far.

    connect ──▶ serve: send what waits · receive ──▶ dropped ──▶ connect (handle) ──▶ …
       │           └─ goAway, a known limit: the next one opens beside it, and takes over
       └─ refused, or dropped at once: again, until the retry budget is used up ──▶ NoModel

What cannot succeed (a wrong key, a certificate, a name that is not found) is not tried again. No
message ends a session: one that is not known, or that fails here, is left out and counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from google.genai import types
from loguru import logger
from websockets.exceptions import ConnectionClosed

from agent.measures import MeasureSink, ModelDrop, ModelSwitch
from agent.ports import Record
from pipelines.gemini.audible import is_audible
from pipelines.gemini.client import ConnectModel
from pipelines.gemini.close_rules import CloseRules, Replay
from pipelines.gemini.closing_connections import ClosingConnections
from pipelines.gemini.connector import Connector, NoModel, Opened, told
from pipelines.gemini.continuity import Continuity, Purpose, Verdict
from pipelines.gemini.departing_connection import Departures
from pipelines.gemini.left_out_report import LeftOutReport
from pipelines.gemini.leg import Leg
from pipelines.gemini.messages import Words
from pipelines.gemini.model_setup import ModelSetup
from pipelines.gemini.model_step import ModelStep
from pipelines.gemini.refusals import HOPELESS, close_reason, sentence
from pipelines.gemini.resumption import Resumption
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.second_connection import SecondConnection
from pipelines.gemini.server_message import LeftOut
from pipelines.gemini.uplink import Uplink

__all__ = ["GeminiSession", "NoModel"]

# What was received before a connection broke is still read; it is there already.
DRAINED_WITHIN_SECS = 1.0


class GeminiSession:
    """Connects, sends, receives and reconnects, until its `run` is cancelled."""

    def __init__(
        self,
        client: ConnectModel,
        setup: ModelSetup,
        step: ModelStep,
        record: Record,
        measure: MeasureSink,
        patience: SessionPatience,
        stopwatch: Callable[[], float],
        handle: str | None = None,
    ) -> None:
        """`setup` is what the next connection has. `handle`: of a session that another has left."""
        self._client = client
        self._step = step
        self._record = record
        self._measure = measure
        self._patience = patience
        self._legs: Continuity[Leg] = Continuity()
        self._closing = ClosingConnections()
        self._connector = Connector(
            client, setup.config, record, measure, patience, leave=self._closing.close_soon
        )
        self._second = SecondConnection(
            self._legs,
            self._connector,
            self._closing,
            record,
            start=self._start,
            brief=self._brief_hedge,
        )
        self._uplink = Uplink(
            self._legs, measure, stopwatch, marks_speech=setup.profile.vad.disabled
        )
        self._unkept = self._uplink.unkept
        self._departures = Departures(
            is_quiet=self._loses_nothing,
            successor=lambda: self._second.successor,
            open_next=lambda: self._second.replace(Purpose.SUCCESSOR, self._handle),
            discard=lambda: self._second.dismiss("somebody_spoke"),
            take_over=self._take_over,
            leave=self._leave_now,
        )
        self._turned = asyncio.Event()
        # The newest handle of the session that serves, or served last.
        self._handle = handle
        self._rules = CloseRules()
        self._replay = Replay()
        # What Gemini said when it closed the last session.
        self._said = ""
        self._left_out = LeftOutReport(record, measure, client.secrets)
        self.leave_out = self._left_out.add
        # The packet path, and what waits behind it.
        self.hear = self._uplink.hear
        self.flush = self._uplink.flush
        self.send = self._uplink.send
        self.mark_speech = self._uplink.mark_speech

    # --- what the model's step notices -------------------------------------------------------

    def answered(self) -> None:
        """Somebody waits from now on, for what is left of the patience."""
        self._connector.answered(has_session=self._legs.serving is not None)

    @property
    def handle(self) -> str | None:
        """The newest resume handle; None when there is none."""
        return self._handle

    def answer_begins(self) -> None:
        """The model answers what the caller said so far: a handle that comes now covers it."""
        self._unkept.answer_begins()

    def speaks(self) -> None:
        """The session that serves was heard: a hedge beside it is not needed."""
        self._rules.answered()
        if self._second.is_hedge:
            self._second.dismiss("answered")

    def hedge(self, cause: str) -> None:
        """Open a fresh session beside the one that serves; whichever speaks first goes on."""
        if self._legs.serving is None or self._legs.beside is not None or self._second.is_opening:
            return
        self._record.event("model.hedged", {"cause": cause})
        self._second.open(Purpose.HEDGE)

    def renew(self, within_secs: float) -> None:
        """Go on with the config as it is now: the next connection takes over between two turns.

        Without a quiet moment `within_secs`, it takes over then.
        """
        if self._legs.serving is not None:
            self._departures.begin(asyncio.get_running_loop().time() + within_secs)

    # --- connections, one after the other ----------------------------------------------------

    async def run(self) -> None:
        """Keep a session open until cancelled.

        Raises: NoModel when none can be opened within the patience.
        """
        try:
            while True:
                if self._legs.serving is None:
                    await self._connect()
                await self._serve()
        finally:
            await self._stop()

    async def _connect(self) -> None:
        # In a function of its own, for `run` would keep the first connection for the whole call.
        leg = self._start(await self._connector.connect(self._handle))
        self._legs.serve(leg)
        await self._begin(leg)

    async def _serve(self) -> None:
        """Return when the connection that serves is gone, or another one has taken over."""
        leg = self._legs.serving
        assert leg is not None
        assert leg.pump is not None
        self._turned.clear()
        turned = asyncio.create_task(self._turned.wait(), name="another connection serves")
        try:
            await asyncio.wait({leg.pump, turned}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            turned.cancel()
        if self._legs.serving is leg:
            left = leg.pump.cancelled()  # by us, because Gemini announced its end
            await self._lost(leg, "go_away" if left else leg.pump.result())

    async def _lost(self, leg: Leg, reason: str) -> None:
        """The connection that serves is gone: the one beside takes over, or a new one is due."""
        sent_until = self._unkept.end if leg.is_live else leg.next_packet
        self._legs.lost(leg)
        self._departures.stop()
        self._second.first_was_lost()
        self._uplink.drop_sound()
        await self._closing.close(leg.connection)
        self._measure(ModelDrop(reason))
        said, self._said = self._said, ""
        self._record.event("model.dropped", told(reason, said))
        logger.bind(**told(reason, said)).info("model session ended; connecting again")
        self._replay = self._rules.closed(reason)
        for number in range(sent_until - self._replay.all_but, sent_until):
            self._unkept.blank(number)
        if self._replay.fresh:
            self._handle = None
        if self._legs.beside is not None:
            await self._take_over("dropped")
            return
        lasted = asyncio.get_running_loop().time() - leg.opened_at
        if lasted >= self._patience.short_session_secs:
            self._connector.lasted()
        elif leg.resumes is not None and leg.resumes == self._handle:
            self._handle = None  # accepted, and of no use: as good as refused
        else:
            hopeless = reason in HOPELESS and not self._rules.has_another_way
            await self._connector.pause(reason, said, hopeless=hopeless)

    def _start(self, opened: Opened) -> Leg:
        """A connection that is open receives, and waits to be briefed."""
        leg = Leg(opened.connection, opened.session, opened.handle, opened.at)
        leg.resumption = Resumption(opened.handle)
        leg.session.listen(partial(self._take_speech, leg), partial(self._take_words, leg))
        leg.pump = asyncio.create_task(self._pump(leg), name="model connection")
        return leg

    async def _begin(self, leg: Leg) -> None:
        """A connection serves from now on: brief it, and send it what the caller said."""
        replay, self._replay = self._replay, Replay()
        start = self._owed_from() if replay.audio else None
        if not self._connector.was_open and self._unkept.first < self._unkept.end:
            start = self._unkept.first
        await self._brief(leg, start, serves=True)

    async def _brief(self, leg: Leg, start: int | None, *, serves: bool) -> None:
        """Tell a connection where the call stands, and send it the audio from `start` on."""
        leg.next_packet = self._unkept.end if start is None else start
        briefing = self._step.brief(leg.resumes is not None, start is not None)
        leg.first, leg.then = briefing.first, briefing.then
        if serves:
            await self._serves(leg)
        leg.begins.set()

    async def _brief_hedge(self, leg: Leg) -> None:
        await self._brief(leg, self._owed_from(), serves=False)

    async def _serves(self, leg: Leg) -> None:
        self._connector.was_open = True
        self._handle = leg.resumption.handle
        await self._step.connected()
        leg.serves.set()
        self._departures.expect(leg.opened_at + self._patience.connection_life_secs)

    def _owed_from(self) -> int | None:
        return self._unkept.replay_from(unfinished=self._step.is_answering())

    # --- one connection ----------------------------------------------------------------------

    async def _pump(self, leg: Leg) -> str:
        """Send and receive until the connection is no more; returns why."""
        sending = asyncio.create_task(self._uplink.send_to(leg), name="to model")
        receiving = asyncio.create_task(self._receive(leg), name="from model")
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            # What came before the break is still to be read; and the receiver knows the close
            # code where the sender only knows that it failed.
            done, _ = await asyncio.wait({receiving}, timeout=DRAINED_WITHIN_SECS)
            return (receiving if done else sending).result()
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _receive(self, leg: Leg) -> str:
        try:
            while True:
                async for message in leg.session.receive():
                    if isinstance(message, LeftOut):
                        self.leave_out(message)
                        continue
                    covers = leg.resumption.take(message)
                    if leg is self._legs.serving:
                        if covers:
                            self._handle = leg.resumption.handle
                            self._unkept.keep(unfinished=self._step.is_answering())
                            self._step.covered()
                        await self._take(leg, message)
                    else:
                        await self._weigh(leg, message)
        except ConnectionClosed as error:
            if leg is self._legs.serving:
                self._said = sentence(error, self._client.secrets)
            return close_reason(error)
        except Exception as error:
            logger.opt(exception=error).error("model session failed")
            return type(error).__name__

    async def _take(self, leg: Leg, message: types.LiveServerMessage) -> None:
        await self._try(self._step.take_message(message))
        if message.go_away is not None:
            left = message.go_away.time_left
            self._record.event("model.go_away", {"time_left": left})
            if leg is self._legs.serving:
                self._departures.begin(asyncio.get_running_loop().time() + _secs(left))

    async def _take_speech(self, leg: Leg, pcm: bytes) -> None:
        leg.resumption.spoke()
        if leg is not self._legs.serving and not await self._takes_over(leg, pcm):
            return
        await self._try(self._step.take_speech(pcm))

    async def _take_words(self, leg: Leg, words: Words) -> None:
        if leg is not self._legs.serving:
            leg.listens |= words.by_caller
            if leg is self._legs.beside:
                leg.held.append(words)
            return
        await self._try(self._step.take_words(words))

    async def _try(self, taking: Awaitable[None]) -> None:
        """Take a message; one that fails here ends no session."""
        try:
            await taking
        except Exception as error:
            self._left_out.failed(error)

    # --- a second connection -----------------------------------------------------------------

    async def _weigh(self, leg: Leg, message: types.LiveServerMessage) -> None:
        """A connection that does not serve has said something."""
        if leg is not self._legs.beside:
            return
        content = message.server_content
        turn = content.model_turn if content is not None else None
        blobs = [part.inline_data for part in (turn.parts or [] if turn else [])]
        loud = any(blob is not None and is_audible(blob.data or b"") for blob in blobs)
        if message.tool_call is None and not loud:
            leg.listens |= content is not None and content.input_transcription is not None
            return
        if self._legs.speaks(leg) is Verdict.TAKES_OVER:
            await self._take_over("spoke_first")
            await self._take(leg, message)

    async def _takes_over(self, leg: Leg, pcm: bytes) -> bool:
        """Whether a connection beside the one that serves does so from now on: it speaks."""
        if self._legs.speaks(leg) is not Verdict.TAKES_OVER or not is_audible(pcm):
            return False
        await self._take_over("spoke_first")
        return True

    async def _take_over(self, cause: str) -> None:
        """The connection beside serves from now on; the one that did is never heard again."""
        leg, purpose = self._legs.beside, self._legs.purpose
        assert leg is not None
        briefed = leg.begins.is_set()
        quiet = cause == "planned"
        old = self._legs.take_over()
        self._second.took_over()
        self._measure(ModelSwitch(f"{purpose.value if purpose else ''}_{cause}"))
        self._record.event("model.switched", {"cause": cause, "was_open": old is not None})
        self._uplink.drop_sound()
        self._departures.stop()
        if briefed:
            await self._serves(leg)  # it knows the call already
        else:
            start = None if quiet else self._owed_from()
            await self._brief(leg, start, serves=True)
        for words in leg.held:
            if isinstance(words, Words):
                await self._try(self._step.take_words(words))
        leg.held.clear()
        if old is not None:
            self._closing.close_soon(old.connection, old.pump)
        self._turned.set()

    # --- a connection that has to go ---------------------------------------------------------

    def _loses_nothing(self) -> bool:
        leg = self._legs.serving
        return leg is not None and leg.resumption.is_covered and self._step.is_quiet()

    def _leave_now(self) -> None:
        """End the connection that serves, as if it were lost."""
        self._second.dismiss("departing")
        if (leg := self._legs.serving) is not None and leg.pump is not None:
            leg.pump.cancel()

    async def _stop(self) -> None:
        """Leave all connections."""
        self._departures.stop()
        self._second.stop()
        legs = [leg for leg in (self._legs.serving, self._legs.beside) if leg is not None]
        for leg in legs:
            self._legs.lost(leg)
        await asyncio.gather(*(self._closing.close(leg.connection, leg.pump) for leg in legs))


def _secs(duration: str | None) -> float:
    """Seconds of a protobuf Duration ("9.5s"); 10 when it cannot be read."""
    try:
        return max(0.0, float((duration or "").removesuffix("s")))
    except ValueError:
        return 10.0
