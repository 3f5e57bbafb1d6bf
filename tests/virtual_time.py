"""An event loop whose clock jumps: when nothing is ready, the next timer is due at once."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer: it tells the loop how far to jump instead."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped_secs = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.jumped_secs += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its clock starts at 1000 and knows only jumps."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.jumped_secs


def run(scene: Coroutine[Any, Any, None], limit_secs: float = 600.0) -> None:
    """Run a scene in virtual time; one that waits for what never comes fails at the limit."""

    async def limited() -> None:
        async with asyncio.timeout(limit_secs):
            await scene

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(limited())
