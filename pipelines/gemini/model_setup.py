"""ModelSetup: prompt, voice and tools of a call's next connection, and what was changed of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from google.genai import types

from agent.call_memory import CallMemory
from agent.profile import AgentProfile
from pipelines.gemini.live_config import live_config
from pipelines.gemini.model_controls import Change, UnknownTool
from pipelines.gemini.tools import Tool


class ModelSetup:
    """Begins with the profile and tools of the pipeline; `change` makes the next config differ."""

    def __init__(
        self, profile: AgentProfile, tools: Sequence[Tool], recalled: CallMemory | None = None
    ) -> None:
        """`recalled`: the memory of the instance that has begun the call, with its changes."""
        self.profile = profile
        # What the model may call now, of those that the pipeline has.
        self.tools = tuple(tools)
        self._tools_by_name = {tool.name: tool for tool in tools}
        # All that was changed since the call began.
        self._changed = Change()
        if recalled is not None:
            self._recall(recalled)

    def config(self, resume: str | None) -> types.LiveConnectConfig:
        """The setup of a connection; `resume` is the handle that it continues."""
        return live_config(self.profile, self.tools, resume)

    def change(self, change: Change) -> list[str]:
        """Apply a change; returns the names of the fields that it has. Raises: UnknownTool."""
        if change.tools is not None:
            self.tools = tuple(self._tool(name) for name in dict.fromkeys(change.tools))
        given = {"system_prompt": change.system_prompt, "voice": change.voice}
        update: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.profile = self.profile.model_copy(update=update)
        if change.tools is not None:
            update["tools"] = change.tools
        self._changed = replace(self._changed, **update)
        return list(update)

    def add_to(self, memory: CallMemory) -> CallMemory:
        """The memory with what was changed, for the setup of another instance."""
        changed = self._changed
        tools = None if changed.tools is None else tuple(changed.tools)
        return replace(
            memory, system_prompt=changed.system_prompt, voice=changed.voice, tools=tools
        )

    def _recall(self, memory: CallMemory) -> None:
        # Another version of the pipeline may not have all of the tools.
        known = self._tools_by_name
        names = None if memory.tools is None else [name for name in memory.tools if name in known]
        self.change(Change(memory.system_prompt, memory.voice, names))

    def _tool(self, name: str) -> Tool:
        known = self._tools_by_name
        if name not in known:
            there = ", ".join(known) or "none"
            raise UnknownTool(f"There is no tool {name[:64]!r}; there are: {there}.")
        return known[name]
