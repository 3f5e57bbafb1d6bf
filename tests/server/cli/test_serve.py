"""What `voice-ai serve` does before it takes calls, seen in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from server.garbage import NEVER, YOUNG_LOOKS, YOUNG_OBJECTS

ROOT = Path(__file__).parents[3]
# Says how the process is set when the server says that it answers, and ends it.
TOLD = """
import asyncio, gc, json, os, typer

def tell(says):
    loop = type(asyncio.get_running_loop())
    told = {"says": says, "loop": loop.__module__, "gc": gc.get_threshold()}
    print(json.dumps(told | {"frozen": gc.get_freeze_count()}), flush=True)
    os._exit(0)

typer.echo = tell
from server.cli.main import app
app()
"""


def test_it_runs_on_uvloop_and_has_settled_when_it_says_that_it_listens(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", TOLD, "serve", "--port", "0"],
        cwd=tmp_path,
        env=kept | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = json.loads(done.stdout)
    assert told["says"].startswith("Listening on http://127.0.0.1:")
    assert told["loop"] == "uvloop"
    assert told["gc"] == [YOUNG_OBJECTS, YOUNG_LOOKS, NEVER]
    assert told["frozen"] > 100_000
