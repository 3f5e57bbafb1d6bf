"""Registry of live calls across instances (who carries which call), and of used one-time tokens.

In Redis when several instances share it (`live_calls_in_redis.py`), in memory when there is one.
All of it may be lost: it is not the record. Each call is a lease, which expires when its instance
dies.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol


class LiveCalls(Protocol):
    """The live calls of all instances. Methods raise `RedisError` when Redis fails.

    `use_token` does not: without Redis, a token is checked against those that this process has
    seen. The signature still proves that a stream comes from Twilio.
    """

    async def claim(self, call_id: str, instance: str) -> None:
        """Give `instance` the call's lease, whoever had it before; `renew` extends it."""
        ...

    async def renew(self, call_ids: Sequence[str], instance: str) -> None:
        """Extend the leases of `instance` on these calls; it takes no other instance's lease."""
        ...

    async def owner(self, call_id: str) -> str | None:
        """The instance that carries the call."""
        ...

    async def release(self, call_id: str, instance: str) -> None:
        """End the lease of `instance` on the call; another instance's lease is left alone."""
        ...

    async def count(self) -> int:
        """How many calls are carried by any instance."""
        ...

    async def all(self) -> dict[str, str]:
        """Every live call's id, and its instance."""
        ...

    async def use_token(self, token_id: str, ttl_secs: int) -> bool:
        """Mark a one-time token, valid for at most `ttl_secs` more, as used; True only once."""
        ...

    async def ping(self) -> None:
        """Raise when the registry cannot be used."""
        ...


class LiveCallsInMemory:
    """For one instance: lost when the process ends."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        # Token → the loop's time at which it expires.
        self._used: dict[str, float] = {}

    async def claim(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.claim`."""
        self._owners[call_id] = instance

    async def renew(self, call_ids: Sequence[str], instance: str) -> None:
        """As `LiveCalls.renew`."""
        for call_id in call_ids:
            self._owners.setdefault(call_id, instance)

    async def owner(self, call_id: str) -> str | None:
        """As `LiveCalls.owner`."""
        return self._owners.get(call_id)

    async def release(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.release`."""
        if self._owners.get(call_id) == instance:
            del self._owners[call_id]

    async def count(self) -> int:
        """As `LiveCalls.count`."""
        return len(self._owners)

    async def all(self) -> dict[str, str]:
        """As `LiveCalls.all`."""
        return dict(self._owners)

    async def use_token(self, token_id: str, ttl_secs: int) -> bool:
        """As `LiveCalls.use_token`."""
        now = asyncio.get_running_loop().time()
        self._used = {token: until for token, until in self._used.items() if until > now}
        if token_id in self._used:
            return False
        self._used[token_id] = now + ttl_secs
        return True

    async def ping(self) -> None:
        """Memory is always there."""
