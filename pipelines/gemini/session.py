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
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from google.genai import types
from loguru import logger
from websockets.exceptions import ConnectionClosed

from agent.measures import (
    MeasureSink,
    ModelDrop,
    ModelSwitch,
    UplinkShare,
)
from agent.model_instructions import CALLER_WAITS
from agent.ports import Record
from pipelines.gemini.audible import is_audible
from pipelines.gemini.audio_socket import AUDIO_TYPE, OnSpeech, OnWords
from pipelines.gemini.client import Connection, ConnectModel, ModelSession
from pipelines.gemini.close_rules import CloseRules, Replay
from pipelines.gemini.connector import Connector, NoModel, Opened, told
from pipelines.gemini.continuity import Continuity, Purpose, Verdict
from pipelines.gemini.departure import Successor
from pipelines.gemini.departures import Departures
from pipelines.gemini.left_out_report import LeftOutReport
from pipelines.gemini.leg import Leg
from pipelines.gemini.messages import Words
from pipelines.gemini.refusals import (
    HOPELESS,
    close_reason,
    sentence,
)
from pipelines.gemini.resumption import Resumption
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.send_queue import Send, SendQueue
from pipelines.gemini.server_message import LeftOut
from pipelines.gemini.unkept_audio import UnkeptAudio
from pipelines.phone.packet_stamp import take_stamp

__all__ = ["Briefing", "GeminiSession", "NoModel"]

# How long a closing handshake may hold up what comes after it.
CLOSED_WITHIN_SECS = 1.0
# What was received before a connection broke is still read; it is there already.
DRAINED_WITHIN_SECS = 1.0
# Of a turn that is longer, the words are told instead: 8 s of audio are sent again in 2 s.
MOST_REPLAYED_PACKETS = 400
# A hedge that gives no sign of having heard anything is asked for an answer.
HEDGE_ASKED_AFTER_SECS = 1.2


@dataclass(frozen=True, slots=True)
class Briefing:
    """What a connection is sent before the caller's audio, and after it."""

    first: Sequence[Send] = ()
    then: Sequence[Send] = ()


class GeminiSession:
    """Connects, sends, receives and reconnects, until its `run` is cancelled."""

    def __init__(
        self,
        client: ConnectModel,
        config: Callable[[str | None], types.LiveConnectConfig],
        *,
        on_message: Callable[[types.LiveServerMessage], Awaitable[None]],
        on_speech: OnSpeech,
        on_words: OnWords,
        on_connected: Callable[[], Awaitable[None]],
        brief: Callable[[bool, bool], Briefing],
        is_quiet: Callable[[], bool],
        is_answering: Callable[[], bool],
        on_kept: Callable[[], None],
        record: Record,
        measure: MeasureSink,
        patience: SessionPatience,
        stopwatch: Callable[[], float],
        marks_speech: bool = False,
        handle: str | None = None,
    ) -> None:
        """`config` makes the setup for a resume handle, or for a session from scratch.

        `on_speech` and `on_words` take the messages that are nothing but speech, or a piece of a
        transcript, `on_message` all others, in the order that they came. `on_connected` hears of
        each connection that takes over. `brief` says what it is told: whether it resumes, and
        whether the caller's audio comes again. `is_quiet`: nobody speaks, and nothing is owed.
        `is_answering`: an answer was begun, and is unfinished. `on_kept` hears that a handle covers
        all that was said. `marks_speech`: the model does not detect speech itself.
        `handle`: of a session that another process has left.
        """
        self._client = client
        self._on_message = on_message
        self._on_speech = on_speech
        self._on_words = on_words
        self._on_connected = on_connected
        self._brief = brief
        self._is_quiet = is_quiet
        self._is_answering = is_answering
        self._on_kept = on_kept
        self._record = record
        self._measure = measure
        self._patience = patience
        self._connector = Connector(
            client, config, record, measure, patience, leave=self._leave_soon
        )
        self._stopwatch = stopwatch
        self._marks_speech = marks_speech
        self._speaks = False
        self._legs: Continuity[Leg] = Continuity()
        self._turned = asyncio.Event()
        self._unkept = UnkeptAudio()
        # The newest handle of the session that serves, or served last.
        self._handle = handle
        self._rules = CloseRules()
        self._replay = Replay()
        self._waiting = SendQueue()
        # What Gemini said when it closed the last session.
        self._said = ""
        self._left_out = LeftOutReport(record, measure, client.secrets)
        self.leave_out = self._left_out.add
        # Connections that are being closed, beside what goes on.
        self._closing: set[asyncio.Task[None]] = set()
        # A second connection that is being opened.
        self._opening: asyncio.Task[None] | None = None
        self._opening_is_hedge = False
        self._departures = Departures(
            is_quiet=self._loses_nothing,
            successor=self._next_one,
            open_next=self._open_next,
            discard=lambda: self._dismiss("somebody_spoke"),
            take_over=self._take_over,
            leave=self._leave_now,
        )

    # --- what is sent ------------------------------------------------------------------------

    def hear(self, pcm: bytes) -> None:
        """Send a packet of the caller's sound, PCM16 at 16 kHz: now, or behind what waits."""
        self._unkept.add(pcm)
        leg, beside = self._legs.serving, self._legs.beside
        if beside is not None and beside.is_live and not beside.session.hear(pcm):
            beside.is_live = False
            beside.next_packet = self._unkept.end - 1
            beside.begins.set()
        if leg is None or not leg.is_live:
            return
        if self._waiting.is_empty and leg.session.hear(pcm):
            if (came := take_stamp()) is not None:
                leg.session.when_sent(partial(self._measure_share, came))
            return

        async def send(session: ModelSession) -> None:
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))

        came = take_stamp()
        self._waiting.add_sound(send if came is None else self._timed(send, came, leg.session))

    def flush(self) -> None:
        """Send the sound that waits for more of it: the caller stopped, so an answer is due."""
        for leg in (self._legs.serving, self._legs.beside):
            if leg is not None and leg.is_live:
                leg.session.flush()

    def send(self, what: Send) -> None:
        """Send behind what waits."""
        self._waiting.add(what)

    def mark_speech(self, *, starts: bool) -> None:
        """Tell a model that does not detect speech itself that the caller begins or ends."""
        self._speaks = starts
        leg = self._legs.serving
        if leg is not None and leg.is_live:
            self._waiting.add(_activity_start if starts else _activity_end)

    def answered(self) -> None:
        """Somebody waits from now on, for what is left of the patience."""
        self._connector.answered(has_session=self._legs.serving is not None)

    # --- what the model's step notices -------------------------------------------------------

    @property
    def opened_at(self) -> float | None:
        """When the connection that serves was opened; None while there is none."""
        return self._legs.serving.opened_at if self._legs.serving is not None else None

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
        if self._legs.purpose is Purpose.HEDGE or self._opening_is_hedge:
            self._dismiss("answered")

    def hedge(self, cause: str) -> None:
        """Open a fresh session beside the one that serves; whichever speaks first goes on."""
        if self._legs.serving is None or self._legs.beside is not None:
            return
        if self._opening is not None and not self._opening.done():
            return
        self._record.event("model.hedged", {"cause": cause})
        self._open_beside(Purpose.HEDGE)

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
                    opened = await self._connector.connect(self._handle)
                    leg = self._leg(opened)
                    self._legs.serve(leg)
                    await self._begin(leg)
                await self._serve()
        finally:
            await self._stop()

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
        if self._opening is not None and not self._opening_is_hedge and not self._opening.done():
            self._dismiss("dropped")
        self._waiting.drop_sound()
        await self._leave(leg.connection)
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

    def _timed(self, send: Send, came: float, opened: ModelSession) -> Send:
        """Measure our share of it; waiting for a session that has yet to be opened is not ours."""

        async def timed(session: ModelSession) -> None:
            await send(session)
            if session is opened:
                self._measure_share(came)

        return timed

    def _measure_share(self, came: float) -> None:
        self._measure(UplinkShare(self._stopwatch() - came))

    def _leg(self, opened: Opened) -> Leg:
        leg = Leg(opened.connection, opened.session, opened.handle, opened.at)
        leg.resumption = Resumption(opened.handle)
        leg.session.listen(partial(self._take_speech, leg), partial(self._take_words, leg))
        leg.pump = asyncio.create_task(self._pump(leg), name="model connection")
        return leg

    async def _begin(self, leg: Leg) -> None:
        """A connection serves from now on: brief it, and send it what the caller said."""
        replay, self._replay = self._replay, Replay()
        start = self._replay_from() if replay.audio else None
        if not self._connector.was_open and self._unkept.first < self._unkept.end:
            start = self._unkept.first
        await self._brief_and_start(leg, start, serves=True)

    async def _brief_and_start(self, leg: Leg, start: int | None, *, serves: bool) -> None:
        leg.next_packet = self._unkept.end if start is None else start
        briefing = self._brief(leg.resumes is not None, start is not None)
        leg.first, leg.then = briefing.first, briefing.then
        if serves:
            self._connector.was_open = True
            self._handle = leg.resumption.handle
            await self._on_connected()
            leg.serves.set()
            self._departures.expect(leg.opened_at + self._patience.connection_life_secs)
        leg.begins.set()

    def _replay_from(self) -> int | None:
        """The packet to begin with, so that the turn that is owed is heard; None: nothing is."""
        unkept = self._unkept
        start = unkept.speech_from(unkept.asked if self._is_answering() else unkept.answered)
        if start is None or unkept.end - start > MOST_REPLAYED_PACKETS:
            start = unkept.speech_from(unkept.answered)
        return start

    # --- one connection ----------------------------------------------------------------------

    async def _pump(self, leg: Leg) -> str:
        """Send and receive until the connection is no more; returns why."""
        sending = asyncio.create_task(self._send_to(leg), name="to model")
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

    async def _send_to(self, leg: Leg) -> str:
        try:
            await leg.begins.wait()
            await leg.send_each(leg.first)
            marked = self._marks_speech and leg.next_packet < self._unkept.end
            if marked:
                await _activity_start(leg.session)
            await leg.catch_up(self._unkept)
            if marked and not self._speaks:
                await _activity_end(leg.session)
            await leg.send_each(leg.then)
            if leg.serves.is_set():
                return await self._waiting.send_to(leg.session)
            await self._ask_hedge(leg)
            await leg.serves.wait()
            if not leg.is_live:
                await leg.catch_up(self._unkept)
        except ConnectionClosed as error:
            return close_reason(error)
        except OSError as error:
            return type(error).__name__
        return await self._waiting.send_to(leg.session)

    async def _ask_hedge(self, leg: Leg) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HEDGE_ASKED_AFTER_SECS):
                await leg.serves.wait()
        if not leg.serves.is_set() and not leg.listens:
            await leg.session.send_realtime_input(text=CALLER_WAITS)

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
                            self._unkept.keep(unfinished=self._is_answering())
                            self._on_kept()
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
        await self._try(self._on_message(message))
        if message.go_away is not None:
            left = message.go_away.time_left
            self._record.event("model.go_away", {"time_left": left})
            if leg is self._legs.serving:
                self._departures.begin(asyncio.get_running_loop().time() + _secs(left))

    async def _take_speech(self, leg: Leg, pcm: bytes) -> None:
        leg.resumption.spoke()
        if leg is not self._legs.serving and not await self._takes_over(leg, pcm):
            return
        await self._try(self._on_speech(pcm))

    async def _take_words(self, leg: Leg, words: Words) -> None:
        if leg is not self._legs.serving:
            leg.listens |= words.by_caller
            if leg is self._legs.beside:
                leg.held.append(words)
            return
        await self._try(self._on_words(words))

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
        self._opening = None
        self._measure(ModelSwitch(f"{purpose.value if purpose else ''}_{cause}"))
        self._record.event("model.switched", {"cause": cause, "was_open": old is not None})
        self._waiting.drop_sound()
        self._departures.stop()
        if briefed:
            # It knows the call already.
            self._connector.was_open = True
            self._handle = leg.resumption.handle
            await self._on_connected()
            leg.serves.set()
            self._departures.expect(leg.opened_at + self._patience.connection_life_secs)
        else:
            start = None if quiet else self._replay_from()
            await self._brief_and_start(leg, start, serves=True)
        for words in leg.held:
            if isinstance(words, Words):
                await self._try(self._on_words(words))
        leg.held.clear()
        if old is not None:
            self._leave_soon(old.connection, old.pump)
        self._turned.set()

    def _open_beside(self, purpose: Purpose) -> None:
        handle = self._handle if purpose is Purpose.SUCCESSOR else None
        self._opening_is_hedge = purpose is Purpose.HEDGE
        self._opening = asyncio.create_task(self._opens(purpose, handle), name="beside")

    async def _opens(self, purpose: Purpose, handle: str | None) -> None:
        opened = await self._connector.connect_once(handle)
        if opened is None:
            return
        leg = self._leg(opened)
        self._legs.stand_by(leg, purpose)
        assert leg.pump is not None
        leg.pump.add_done_callback(lambda _: self._beside_ended(leg))
        if purpose is Purpose.HEDGE:
            await self._brief_and_start(leg, self._replay_from(), serves=False)

    def _beside_ended(self, leg: Leg) -> None:
        if leg is self._legs.beside:
            self._legs.lost(leg)
            self._leave_soon(leg.connection)

    def _dismiss(self, why: str) -> None:
        """The connection beside is not needed, or came too late."""
        opening, self._opening = self._opening, None
        if opening is not None and opening is not asyncio.current_task():
            opening.cancel()
        if (leg := self._legs.dismiss()) is not None:
            self._record.event("model.dismissed", {"why": why})
            self._leave_soon(leg.connection, leg.pump)

    # --- a connection that has to go ---------------------------------------------------------

    def _loses_nothing(self) -> bool:
        leg = self._legs.serving
        return leg is not None and leg.resumption.is_covered and self._is_quiet()

    def _next_one(self) -> Successor:
        """How far the connection is that is to take over."""
        if self._legs.purpose is Purpose.SUCCESSOR:
            return Successor.OPEN
        if self._opening is None:
            return Successor.NONE
        return Successor.REFUSED if self._opening.done() else Successor.OPENING

    def _open_next(self) -> None:
        if self._legs.beside is not None or self._opening is not None:
            self._dismiss("departing")
        self._open_beside(Purpose.SUCCESSOR)

    def _leave_now(self) -> None:
        """End the connection that serves, as if it were lost."""
        self._dismiss("departing")
        if (leg := self._legs.serving) is not None and leg.pump is not None:
            leg.pump.cancel()

    # --- leaving -----------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Leave all connections."""
        self._departures.stop()
        if self._opening is not None:
            self._opening.cancel()
        legs = [leg for leg in (self._legs.serving, self._legs.beside) if leg is not None]
        for leg in legs:
            self._legs.lost(leg)
        await asyncio.gather(*(self._leave(leg.connection, leg.pump) for leg in legs))

    def _leave_soon(
        self, connection: Connection, pump: asyncio.Task[str] | None = None
    ) -> asyncio.Task[None]:
        """Close a connection beside what goes on."""
        closing = asyncio.create_task(_close(connection, pump), name="leaving model")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def _leave(self, connection: Connection, pump: asyncio.Task[str] | None = None) -> None:
        """Close a connection; a peer that is slow to agree is not waited for."""
        await asyncio.wait({self._leave_soon(connection, pump)}, timeout=CLOSED_WITHIN_SECS)


async def _activity_start(session: ModelSession) -> None:
    await session.send_realtime_input(activity_start=types.ActivityStart())


async def _activity_end(session: ModelSession) -> None:
    await session.send_realtime_input(activity_end=types.ActivityEnd())


def _secs(duration: str | None) -> float:
    """Seconds of a protobuf Duration ("9.5s"); 10 when it cannot be read."""
    try:
        return max(0.0, float((duration or "").removesuffix("s")))
    except ValueError:
        return 10.0


async def _close(connection: Connection, pump: asyncio.Task[str] | None) -> None:
    if pump is not None:
        pump.cancel()
        await asyncio.wait({pump})
    try:
        await connection.__aexit__(None, None, None)
    except Exception as error:
        logger.debug("model session closed badly", error=type(error).__name__)
