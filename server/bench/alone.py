"""One bench at a time on one machine: two would measure each other."""

import fcntl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "voice-ai-bench.lock"


@contextmanager
def alone(wait: Callable[[], None], lock: Path | None = None) -> Iterator[None]:
    """Wait until no other bench runs; `wait` is called when there is one."""
    with (lock or LOCK).open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait()
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
