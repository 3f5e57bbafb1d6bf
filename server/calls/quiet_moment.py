"""Quiet moment: when a call can go to another instance without anybody noticing.

agent   ══════════╗                    ┌ moved here
caller            ║   ▂▂▂▂▂▂▂▂         │
owed              ║           ░░░╔═════▼
"""

import asyncio
from collections.abc import Callable

from pipelines.call.run_call import RunningCall

LOOKS_EVERY_SECS = 0.02


async def quiet_moment(
    running: RunningCall, within_secs: float, hurries: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until neither side speaks and nothing is owed; False when that does not come in time.

    Nor does it come when the call is over, has no stream now, or somebody `hurries`.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within_secs
    while not running.is_quiet:
        is_left = running.is_over or not running.line.bound or running.line.stopped
        if is_left or hurries() or loop.time() >= give_up:
            return False
        await asyncio.sleep(LOOKS_EVERY_SECS)
    return True
