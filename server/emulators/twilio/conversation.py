"""What Twilio does with an answered call: TwiML, verb by verb.

When a document cannot be had or followed, Twilio says so to the person and hangs up.
"""

from collections.abc import Callable, Mapping
from urllib.parse import urljoin

from server.emulators.speech import speak, voice_for
from server.emulators.twilio.call import EmulatedCall
from server.emulators.twilio.errors import Code
from server.emulators.twilio.media_stream import MediaStream
from server.emulators.twilio.mulaw import RATE, encode
from server.emulators.twilio.order import E164, Document
from server.emulators.twilio.sound import at_line_rate
from server.emulators.twilio.transfer import transfer
from server.emulators.twilio.twiml import (
    Dial,
    Hangup,
    Pause,
    Redirect,
    Reject,
    Say,
    Stream,
    TwimlError,
    Verb,
    parse,
)
from server.emulators.twilio.webhooks import TimedOut, Unreachable

APOLOGY = "We are sorry, an application error has occurred. Goodbye."
TWIML_TYPES = frozenset({"text/xml", "application/xml", "text/html"})
# <Say loop="0"> is "until the call ends", at most this often.
ENDLESS_LOOP = 1_000


class Conversation:
    """Follows TwiML for one call."""

    def __init__(self, call: EmulatedCall) -> None:
        self._call = call
        self._media_stream: Callable[..., MediaStream] = MediaStream
        self._extra: dict[str, str] = {}
        # The reason of a <Reject>.
        self.rejected: str | None = None

    async def follow(self, document: Document) -> Document | None:
        """Fetch a document and follow it to its end: what to go on with, or None to hang up."""
        try:
            verbs = parse(await self._fetch(document))
        except TwimlError as problem:
            return await self._go_wrong(problem, document)
        for verb in verbs:
            if isinstance(verb, Reject) and self._call.line is None:
                self.rejected = verb.reason
                return None
            if isinstance(verb, Hangup | Reject):
                self._call.answer()
                return None
            try:
                goes_on = await self._do(verb, document.url)
            except TwimlError as problem:
                return await self._go_wrong(problem, document)
            if goes_on is not None:
                return goes_on
        return None

    async def _go_wrong(self, problem: TwimlError, document: Document) -> Document | None:
        call = self._call
        call.record.error(problem.code, problem.message)
        fallback = call.order.fallback
        if fallback is None or document == fallback:
            await self._say(Say(APOLOGY))
            return None
        self._extra = {"ErrorCode": f"{problem.code:d}", "ErrorUrl": document.url}
        return fallback

    async def _fetch(self, document: Document) -> str:
        if document.text is not None:
            return document.text
        call = self._call
        form = call.form() | self._extra
        self._extra = {}
        try:
            reply = await call.exchange.webhooks.send(document.url, document.method, form)
        except TimedOut as problem:
            raise TwimlError(Code.TWIML_TIMEOUT, f"{document.url}: {problem}") from None
        except Unreachable as problem:
            raise TwimlError(Code.TWIML_UNREACHABLE, f"{document.url}: {problem}") from None
        call.record.note("twiml.fetched", url=document.url, status=reply.status)
        if not reply.is_ok:
            message = f"{document.url} answered HTTP {reply.status}"
            raise TwimlError(Code.TWIML_UNREACHABLE, message)
        if reply.content_type not in TWIML_TYPES:
            message = f"{document.url} answered {reply.content_type or 'no content type'}"
            raise TwimlError(Code.TWIML_CONTENT_TYPE, message)
        return reply.text

    async def _do(self, verb: Verb, base: str) -> Document | None:
        """Follow one verb: where to go on, or None for the next verb."""
        self._call.record.note("verb", verb=type(verb).__name__)
        line = self._call.answer()
        match verb:
            case Redirect(url, method):
                return Document(urljoin(base, url), method)
            case Say():
                await self._say(verb)
            case Pause(secs):
                await self._until_sample(line.now + int(secs * RATE))
            case Stream():
                return await self._stream(verb, base)
            case Dial():
                return await self._dial(verb, base)
        return None

    async def _say(self, verb: Say) -> None:
        line = self._call.answer()
        voice = voice_for(verb.language)
        samples = at_line_rate(speak(verb.text, voice=voice, rate=RATE), RATE)
        for _ in range(verb.loop or ENDLESS_LOOP):
            self._call.record.note("twilio.says", text=verb.text)
            line.clear()
            line.hear(encode(samples))
            await self._call.changes.until(lambda: line.ear.waiting == 0)
        line.clear()

    async def _until_sample(self, sample: int) -> None:
        line = self._call.answer()
        await self._call.changes.until(lambda: line.now >= sample)

    async def _stream(self, verb: Stream, base: str) -> Document | None:
        call = self._call

        def tell(event: str, form: Mapping[str, str]) -> None:
            if verb.status_callback:
                url = urljoin(base, verb.status_callback)
                call.callbacks.send(event, url, verb.status_callback_method, form)

        stream = self._media_stream(
            verb,
            call.answer(),
            call.record,
            account_sid=call.exchange.account_sid,
            call_sid=call.sid,
            auth_token=call.exchange.auth_token,
            tell=tell,
            tls=call.exchange.tls,
        )
        call.stream = stream
        try:
            await stream.run()
        finally:
            call.stream = None
        if verb.action is None:
            return None
        self._extra = {"StreamSid": stream.sid}
        return Document(urljoin(base, verb.action), verb.method)

    def _check_caller_id(self, verb: Dial) -> None:
        """Refuse what Twilio shows to no telephone: no number, and one that is not the account's.

        The number that calls and the one that was called may be shown, too. Without a callerId
        Twilio shows who calls, which has to be a number.
        Source: https://www.twilio.com/docs/voice/twiml/dial#callerid
        """
        order = self._call.order
        shown = order.from_ if verb.caller_id is None else verb.caller_id.strip()
        allowed = self._call.exchange.numbers | {order.from_, order.to}
        if not E164.fullmatch(shown) or shown not in allowed:
            raise TwimlError(Code.BAD_CALLER_ID, f"Dial: Invalid callerId value {shown!r}")

    async def _dial(self, verb: Dial, base: str) -> Document | None:
        self._check_caller_id(verb)
        done = await transfer(self._call, verb)
        if verb.action is None:
            return None
        self._extra = {
            "DialCallStatus": done.status,
            "DialCallDuration": str(round(done.secs)),
        }
        return Document(urljoin(base, verb.action), verb.method)
