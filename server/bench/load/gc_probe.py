"""Counts the full garbage collections of a Python process, from a file that it grows by a byte."""

from pathlib import Path

# Python runs a module of this name when it starts, if it finds one.
_MODULE = "sitecustomize.py"
_COUNTED = "full-collections"
_SOURCE = """\
import gc, os
counted = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def count(phase, info):
    if phase == "stop" and info["generation"] == 2:
        os.write(counted, b".")
gc.callbacks.append(count)
"""


def write_probe(folder: Path) -> None:
    """Have every process count that is started with this folder in its PYTHONPATH."""
    source = _SOURCE.format(path=str(folder / _COUNTED))
    (folder / _MODULE).write_text(source, encoding="utf-8")


def full_collections(folder: Path) -> int:
    """How many there were so far."""
    counted = folder / _COUNTED
    return counted.stat().st_size if counted.exists() else 0
