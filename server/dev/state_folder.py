"""Folder `.voice-ai` in the working folder: the emulator's certificate, the database of `dev`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE_FOLDER = Path(".voice-ai")
CERTIFICATE_FOLDER = STATE_FOLDER / "certificate"
ADDRESS_FILE = "address"


def open_state_folder() -> Path:
    """The folder, which Git leaves alone, as an absolute path.

    Raises: OSError when it cannot be written.
    """
    folder = STATE_FOLDER.resolve()
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    return folder


@contextmanager
def address_noted(state: Path, url: str) -> Iterator[None]:
    """While open, other commands in this folder can find the server of `dev`."""
    file = state / ADDRESS_FILE
    file.write_text(url, encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def address_of_dev() -> str | None:
    """Where a `dev` of this folder serves, or served until it was killed; None: none does."""
    try:
        return (STATE_FOLDER / ADDRESS_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
