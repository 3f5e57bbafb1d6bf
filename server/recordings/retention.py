"""Erases recordings that were last written before a given time."""

import re
from pathlib import Path

from loguru import logger

DAY_SECS = 86_400
# A call's id, as in the API. Other files in the folder are left alone.
RECORDING = re.compile(r"[0-9a-f]{32}\.wav")


def erase_older(folder: Path, than: float) -> int:
    """Erase recordings last written before `than` (seconds since the epoch); return how many.

    A file that cannot be erased is logged, and retried the next time. The folder may be missing.
    """
    erased = 0
    try:
        files = [path for path in folder.iterdir() if RECORDING.fullmatch(path.name)]
    except FileNotFoundError:
        return 0
    except OSError as error:
        logger.error("Old recordings cannot be looked for", error=type(error).__name__)
        return 0
    for path in files:
        try:
            if path.stat().st_mtime < than:
                path.unlink()
                erased += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.error("An old recording cannot be erased", error=type(error).__name__)
    return erased
