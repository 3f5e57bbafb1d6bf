"""How long recordings are kept: files of calls whose last sound is older than that are erased."""

import re
from pathlib import Path

from loguru import logger

DAY_SECS = 86_400
# A call's id, as in the API. Whatever else lies in the folder is somebody else's.
RECORDING = re.compile(r"[0-9a-f]{32}\.wav")


def erase_older(folder: Path, than: float) -> int:
    """Erase the recordings last written to before `than` (seconds since the epoch); how many.

    One that cannot be erased is logged, and tried again the next time. A folder that is not there
    has none.
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
