"""Relay: finds the instance that has a call, and asks it for what only that one can do.

    stream arrives ─▶ find (Redis) ─▶ connect ─▶ accepted ─▶ `start` goes on to the owner
                      └──────── within 250 ms ─────────┘
                      else None: the call goes on here, from its memory or anew

The owner takes the call with `start`, which is sent only once it has accepted in time: one that
wakes up later finds its socket closed, and takes nothing away.
"""

import asyncio
import hashlib
from collections.abc import Callable
from urllib.parse import quote

import httpx
from loguru import logger
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agent.live_calls import LiveCalls, Whereabouts
from server.calls.bounded_waits import within
from server.relay.instance_tls import trusted_authorities
from server.relay.owner_watch import OwnerWatch
from server.relay.relay_signatures import HEADER, RelaySignatures
from server.relay.splice import Splice
from server.twilio.media_websocket import MediaWebSocketProtocol

# The caller hears nothing meanwhile.
ACCEPTED_WITHIN_SECS = 0.25
REQUEST_TIMEOUT_SECS = 2.0

# What requests and signatures are for.
MEDIA, CHANGE, HINT, MOVE, TAKE = "media", "change", "hint", "move", "take"
STREAM_SID_HEADER = "x-voice-ai-stream-sid"


def digest(body: bytes) -> str:
    """What a signature says of the body of a request."""
    return hashlib.sha256(body).hexdigest()


class Relay:
    """`count` hears the outcome of each stream whose call is on another instance."""

    def __init__(
        self,
        live_calls: LiveCalls,
        signatures: RelaySignatures,
        instance: str,
        count: Callable[[str], None],
    ) -> None:
        self.signatures = signatures
        self._live_calls = live_calls
        self._instance = instance
        self._count = count
        self._http = httpx.AsyncClient(
            timeout=REQUEST_TIMEOUT_SECS, trust_env=False, verify=trusted_authorities()
        )
        self._watch = OwnerWatch(self._http)

    async def close(self) -> None:
        """Close the connections of requests; streams end with their sockets."""
        await self._watch.close()
        await self._http.aclose()

    async def pass_on(
        self, twilio: MediaWebSocketProtocol, call_id: str, stream_sid: str, start: str
    ) -> bool:
        """Pass a stream on to the instance that has its call, until it ends.

        `start` is the stream's message, as it came. False when nobody else has the call, or takes
        the stream in time: then nothing of it is lost.
        """
        found = await self._open_stream(call_id, stream_sid)
        if found is None:
            return False
        url, owner = found
        splice = Splice(twilio, owner)
        with self._watch.watched(url, splice.abort):
            return await splice.run(start)

    async def _open_stream(
        self, call_id: str, stream_sid: str
    ) -> tuple[str, asyncio.Transport] | None:
        """The address of the owner that has accepted, and the connection to it."""
        owner: Whereabouts | None = None
        try:
            async with within(ACCEPTED_WITHIN_SECS):
                owner = await self._other(call_id)
                if owner is None:
                    return None
                transport = await self._connect(owner, call_id, stream_sid)
        except InvalidStatus as refused:
            status = refused.response.status_code
            logger.info("The owner does not take a stream", owner=owner, status=status)
            self._count("refused")
            return None
        except Exception as error:
            logger.bind(error=type(error).__name__).warning(
                "The owner of a call cannot be reached; the call goes on here", owner=owner
            )
            self._count("late" if isinstance(error, TimeoutError) else "failed")
            return None
        logger.info("A stream is passed on to the owner of its call", owner=owner.instance)
        self._count("relayed")
        return str(owner.url), transport

    async def request(self, call_id: str, what: str, body: bytes) -> httpx.Response | None:
        """The owner's answer to a request; None when there is none, or it does not answer."""
        try:
            owner = await self._other(call_id)
            return None if owner is None else await self.ask(owner, call_id, what, body)
        except Exception as error:
            logger.bind(error=type(error).__name__).warning("The owner of a call does not answer")
            return None

    async def ask(
        self, asked: Whereabouts, call_id: str, what: str, body: bytes = b""
    ) -> httpx.Response:
        """Another instance's answer to a request. Raises: httpx.HTTPError."""
        signature = self.signatures.sign(asked.instance, what, call_id, digest(body))
        return await self._http.post(
            f"{asked.url}/internal/{what}/{quote(call_id, safe='')}",
            content=body,
            headers={HEADER: signature, "content-type": "application/json"},
        )

    async def _other(self, call_id: str) -> Whereabouts | None:
        """The other instance that has the call, and can be reached."""
        found = await self._live_calls.find(call_id)
        if found is None or found.url is None or found.instance == self._instance:
            return None
        return found

    async def _connect(
        self, owner: Whereabouts, call_id: str, stream_sid: str
    ) -> asyncio.Transport:
        signature = self.signatures.sign(owner.instance, MEDIA, call_id, stream_sid)
        address = f"ws{str(owner.url).removeprefix('http')}"
        # From the first byte behind the handshake on, the connection is the splice's.
        socket = await connect(
            f"{address}/internal/{MEDIA}/{quote(call_id, safe='')}",
            additional_headers={HEADER: signature, STREAM_SID_HEADER: stream_sid},
            user_agent_header=None,
            compression=None,
            proxy=None,
            open_timeout=None,
            ping_interval=None,
        )
        return socket.transport
