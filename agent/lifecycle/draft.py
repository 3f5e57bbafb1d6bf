"""Draft: one decision in the making, with the call's state and the commands so far."""

from dataclasses import replace
from typing import Any

from agent.lifecycle.events import CancelTimer, Command, SetTimer, Timer
from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import CallStatus


class Draft:
    """Collects what one event changes. `at` is when it happened, in seconds since the epoch."""

    def __init__(self, state: CallState, at: float) -> None:
        self.state = state
        self.at = at
        self.commands: list[Command] = []

    @property
    def is_answered(self) -> bool:
        """The call was answered and is not over."""
        return self.state.status is CallStatus.IN_PROGRESS

    def change(self, **fields: Any) -> None:
        """Set fields of the state."""
        self.state = replace(self.state, **fields)

    def command(self, command: Command) -> None:
        """Ask for something to be done, after what was asked for before."""
        self.commands.append(command)

    def arm(self, timer: Timer, at: float) -> None:
        """Set a timer, or set it anew."""
        self.change(deadlines=self.state.deadlines | {timer: at})
        self.command(SetTimer(timer, at))

    def disarm(self, timer: Timer) -> None:
        """Cancel a timer, if it is armed."""
        if timer in self.state.deadlines:
            self.forget(timer)
            self.command(CancelTimer(timer))

    def forget(self, timer: Timer) -> None:
        """Remove a timer that has fired."""
        kept = {t: at for t, at in self.state.deadlines.items() if t is not timer}
        self.change(deadlines=kept)
