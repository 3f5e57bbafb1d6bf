"""Peers without a key that send many requests at once and read nothing, in a process of their own.

    python -m server.bench.flooder PORT PATH REQUESTS CONNECTIONS HOLDS_SECS SECS

Rounds follow one another for so many seconds, one at least: so many connections at a time, each of
which writes all its requests, stays open for HOLDS_SECS, reads nothing, and is closed. Prints how
many rounds there were.
"""

import asyncio
import contextlib
import os
import socket
import sys
from time import monotonic

# A peer whose bytes are not taken gives up.
SENDS_WITHIN_SECS = 1.0
# What a peer receives at most while it reads nothing.
UNREAD_BYTES = 4096


async def flood(
    port: int, path: str, requests: int, connections: int, holds_secs: float, secs: float
) -> int:
    """Flood the server at this port of this machine; returns the rounds."""
    sent = f"GET {path} HTTP/1.1\r\n\r\n".encode() * requests
    began, rounds = monotonic(), 0
    while not rounds or monotonic() - began < secs:
        await asyncio.gather(*(_peer(port, sent, holds_secs) for _ in range(connections)))
        rounds += 1
    return rounds


async def _peer(port: int, sent: bytes, holds_secs: float) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as peer, contextlib.suppress(OSError, TimeoutError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
        peer.setblocking(False)
        async with asyncio.timeout(SENDS_WITHIN_SECS):
            await loop.sock_connect(peer, ("127.0.0.1", port))
            await loop.sock_sendall(peer, sent)
        await asyncio.sleep(holds_secs)


def _behind_the_load_generator() -> None:
    """Run when the load generator, which started this and shares its core, has nothing to do."""
    if hasattr(os, "SCHED_OTHER"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(10)


if __name__ == "__main__":
    _behind_the_load_generator()
    port, path, requests, connections, holds_secs, secs = sys.argv[1:]
    flooding = flood(
        int(port), path, int(requests), int(connections), float(holds_secs), float(secs)
    )
    sys.stdout.write(f"{asyncio.run(flooding)}\n")
