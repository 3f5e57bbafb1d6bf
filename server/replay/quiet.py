"""Imported first in processes that replay: what is logged there tells nobody anything.

The servers of replays say what went wrong in their reports; Pipecat greets whoever imports it.
"""

from loguru import logger

logger.remove()
