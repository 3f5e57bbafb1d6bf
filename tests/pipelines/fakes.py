"""Scripted parts for tests of tools and steps."""

from collections.abc import Mapping
from typing import Any


class FakeCall:
    """A `LiveCall` that keeps what a tool asked for."""

    def __init__(self) -> None:
        self.call_id = "call-1"
        self.phone_number = "+15550100"
        self.metadata: Mapping[str, Any] = {}
        self.asked: list[tuple[str, object]] = []

    async def hang_up(self) -> None:
        self.asked.append(("hang_up", None))

    async def say(self, text: str) -> None:
        self.asked.append(("say", text))

    async def transfer(self, phone_number: str) -> None:
        self.asked.append(("transfer", phone_number))

    def note(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        self.asked.append((kind, dict(detail or {})))
