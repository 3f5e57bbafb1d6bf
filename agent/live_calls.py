"""Registry of live calls across instances (who carries which call), and of used one-time tokens.

In Redis when several instances share it (`live_calls_in_redis.py`), in memory when there is one.
All of it may be lost: it is not the record. Each call is a lease with a fencing number, which grows
with each instance that takes the call. It expires when its instance dies.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# The fencing number of a call whose lease could not be had, and of one that another instance has.
NO_FENCE = 0
LOST = -1
# How long the calls of an instance that is silent are remembered.
STRANDED_FOR_SECS = 60.0
# Who has Twilio fetch the TwiML of a stranded call has this time before another instance tries.
RESCUED_WITHIN_SECS = 15.0


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What an instance says of itself whenever it renews its leases."""

    # Calls that have a place on it, those that ring included.
    held: int
    capacity: int
    draining: bool = False
    # Where the other instances reach it: INSTANCE_URL.
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The instance that a call is on, and where the other instances reach it."""

    instance: str
    url: str | None


class LiveCalls(Protocol):
    """The live calls of all instances. Methods raise `RedisError` when Redis fails.

    `use_token` does not: without Redis, a token is checked against those that this process has
    seen. The signature still proves that a stream comes from Twilio.
    """

    async def claim(self, call_id: str, instance: str) -> int:
        """Give `instance` the call's lease, whoever had it before; `renew` extends it.

        Returns its fencing number, from 1: greater than that of any lease on the call before.
        """
        ...

    async def renew(self, leases: Mapping[str, int], instance: str) -> dict[str, int]:
        """Extend the leases of `instance` on these calls, each with its fencing number.

        Takes no other instance's lease, and claims those whose number is NO_FENCE. Returns the
        numbers that are valid now, LOST for calls that another instance has taken.
        """
        ...

    async def admit(self, call_id: str, limit: int | None, instance: str | None = None) -> bool:
        """Count a call that begins, unless `limit` calls are counted; True when it is.

        `limit` None: there is none. `instance` has a place for the call, where `find` finds it.
        Both hold for as long as a lease, and longer by `report`.
        """
        ...

    async def dismiss(self, call_id: str) -> None:
        """Count a call no more: it is over."""
        ...

    async def report(self, instance: str, report: InstanceReport, call_ids: Sequence[str]) -> None:
        """Tell that `instance` lives, and extend what `admit` noted of calls with a place on it.

        The calls are remembered for STRANDED_FOR_SECS, for `stranded`.
        """
        ...

    async def leave(self, instance: str) -> None:
        """`instance` is stopping; it is reported no more."""
        ...

    async def instances(self) -> dict[str, InstanceReport]:
        """The instances that live, and what they said last."""
        ...

    async def owner(self, call_id: str) -> str | None:
        """The instance that carries the call."""
        ...

    async def find(self, call_id: str) -> Whereabouts | None:
        """The instance that carries the call; before its first stream, that has a place for it."""
        ...

    async def find_all(self, call_ids: Sequence[str]) -> dict[str, str]:
        """The instance of each of these calls that has one, as `find` finds it."""
        ...

    async def release(self, call_id: str, instance: str) -> None:
        """End the lease and the place of `instance`; what another instance has is left alone."""
        ...

    async def stranded(self) -> dict[str, Whereabouts]:
        """The calls that nobody carries, and whose instance has not reported for a whole lease."""
        ...

    async def rescue(self, call_id: str) -> bool:
        """Whether the caller is the one that has Twilio fetch a stranded call's TwiML: one only.

        It is asked again after RESCUED_WITHIN_SECS.
        """
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
        self._fences: dict[str, int] = {}
        # Call → the instance that has a place for it.
        self._admitted: dict[str, str | None] = {}
        self._reports: dict[str, InstanceReport] = {}
        # Token → the loop's time at which it expires.
        self._used: dict[str, float] = {}

    async def claim(self, call_id: str, instance: str) -> int:
        """As `LiveCalls.claim`."""
        self._owners[call_id] = instance
        self._fences[call_id] = self._fences.get(call_id, NO_FENCE) + 1
        return self._fences[call_id]

    async def renew(self, leases: Mapping[str, int], instance: str) -> dict[str, int]:
        """As `LiveCalls.renew`."""
        renewed = {}
        for call_id, fence in leases.items():
            if fence == NO_FENCE and self._owners.get(call_id) == instance:
                renewed[call_id] = self._fences[call_id]
                continue
            if fence == NO_FENCE:
                renewed[call_id] = await self.claim(call_id, instance)
                continue
            newest = self._fences.setdefault(call_id, fence)
            is_ours = self._owners.get(call_id, instance) == instance and newest <= fence
            if is_ours:
                self._owners[call_id] = instance
            renewed[call_id] = fence if is_ours else LOST
        return renewed

    async def admit(self, call_id: str, limit: int | None, instance: str | None = None) -> bool:
        """As `LiveCalls.admit`."""
        if limit is not None and len(self._admitted.keys() - {call_id}) >= limit:
            return False
        self._admitted[call_id] = instance
        return True

    async def dismiss(self, call_id: str) -> None:
        """As `LiveCalls.dismiss`."""
        self._admitted.pop(call_id, None)

    async def report(self, instance: str, report: InstanceReport, call_ids: Sequence[str]) -> None:
        """As `LiveCalls.report`."""
        self._reports[instance] = report
        for call_id in call_ids:
            if self._admitted.get(call_id) is None:
                self._admitted[call_id] = instance

    async def leave(self, instance: str) -> None:
        """As `LiveCalls.leave`."""
        self._reports.pop(instance, None)

    async def instances(self) -> dict[str, InstanceReport]:
        """As `LiveCalls.instances`."""
        return dict(self._reports)

    async def owner(self, call_id: str) -> str | None:
        """As `LiveCalls.owner`."""
        return self._owners.get(call_id)

    async def find(self, call_id: str) -> Whereabouts | None:
        """As `LiveCalls.find`."""
        instance = self._owners.get(call_id) or self._admitted.get(call_id)
        if instance is None:
            return None
        report = self._reports.get(instance)
        return Whereabouts(instance, None if report is None else report.url)

    async def find_all(self, call_ids: Sequence[str]) -> dict[str, str]:
        """As `LiveCalls.find_all`."""
        found = {each: self._owners.get(each) or self._admitted.get(each) for each in call_ids}
        return {call_id: instance for call_id, instance in found.items() if instance is not None}

    async def release(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.release`."""
        if self._admitted.get(call_id) == instance:
            self._admitted[call_id] = None
        if self._owners.get(call_id) == instance:
            del self._owners[call_id]
            self._fences.pop(call_id, None)

    async def stranded(self) -> dict[str, Whereabouts]:
        """None: without other instances, nobody would notice."""
        return {}

    async def rescue(self, call_id: str) -> bool:
        """As `LiveCalls.rescue`, once."""
        return True

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
