"""Folder `.voice-ai` in the working folder: the emulator's certificate, the database of `dev`."""

from pathlib import Path

STATE_FOLDER = Path(".voice-ai")
CERTIFICATE_FOLDER = STATE_FOLDER / "certificate"


def open_state_folder() -> Path:
    """The folder, which Git leaves alone, as an absolute path.

    Raises: OSError when it cannot be written.
    """
    folder = STATE_FOLDER.resolve()
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    return folder
