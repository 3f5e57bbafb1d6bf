"""LeftOutReport: counts what of the model's messages was not used, and tells each kind once."""

from collections.abc import Sequence

from loguru import logger

from agent.measures import MeasureSink, ModelLeftOut
from agent.ports import Record
from pipelines.gemini.refusals import presentable
from pipelines.gemini.server_message import LeftOut

# Of so many kinds in one call, each is told once.
MOST_KINDS = 50


class LeftOutReport:
    """What was left out in one call."""

    def __init__(self, record: Record, measure: MeasureSink, secrets: Sequence[str]) -> None:
        self._record = record
        self._measure = measure
        self._secrets = secrets
        self._kinds: set[str] = set()

    def add(self, left: LeftOut) -> None:
        """Count what was not used of a message; report each kind once."""
        self._measure(ModelLeftOut(left.what))
        kind = f"{left.what}: {left.name}"
        if kind in self._kinds or len(self._kinds) >= MOST_KINDS:
            return
        self._kinds.add(kind)
        detail = {"what": left.what, "name": left.name}
        if said := presentable(left.said, self._secrets):
            detail["said"] = said
        self._record.event("model.left_out", detail)
        logger.bind(**detail).warning("model sent what is not known; it is left out")

    def failed(self, error: Exception) -> None:
        """A message could not be taken because of an error of ours."""
        name = type(error).__name__
        if f"failed: {name}" not in self._kinds:
            logger.opt(exception=error).error("a message of the model could not be taken")
        self.add(LeftOut("failed", name))
