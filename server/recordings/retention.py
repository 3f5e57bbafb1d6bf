"""Erases recordings and cassettes that were last written before a given time."""

import re
from pathlib import Path

from loguru import logger

DAY_SECS = 86_400
# A call's id, as in the API. Other files in the folder are left alone.
CALL_ID = re.compile(r"[0-9a-f]{32}")


def erase_older(folder: Path, than: float, suffix: str = ".wav") -> int:
    """Erase files of calls last written before `than` (seconds since the epoch); return how many.

    A file that cannot be erased is logged, and retried the next time. The folder may be missing.
    """
    erased = 0
    try:
        files = [path for path in folder.iterdir() if _is_of_call(path, suffix)]
    except FileNotFoundError:
        return 0
    except OSError as error:
        logger.error("Old files cannot be looked for", error=type(error).__name__)
        return 0
    for path in files:
        try:
            if path.stat().st_mtime < than:
                path.unlink()
                erased += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.error("An old file cannot be erased", error=type(error).__name__)
    return erased


def _is_of_call(path: Path, suffix: str) -> bool:
    return path.suffix == suffix and bool(CALL_ID.fullmatch(path.stem))
