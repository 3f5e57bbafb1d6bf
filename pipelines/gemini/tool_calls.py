"""Runs the model's tool calls, each in a task of its own, and sends their answers.

called ─▶ tool.called ─▶ running ─┬─▶ tool.answered ─▶ the session that waits for it or, as text,
             ▲                    │                    the one that replaced it
             └ another session    └─▶ cancelled by the model: tool.canceled, no answer
               asks: the same run
"""

import asyncio
from collections.abc import Callable, Sequence

from google.genai import types
from loguru import logger
from pipecat.frames.frames import FunctionCallInProgressFrame, FunctionCallResultFrame
from pipecat.processors.frame_processor import FrameProcessor

from agent.measures import MeasureSink, ToolLetGo
from agent.ports import LiveCall, Record
from pipelines.gemini.client import ModelSession
from pipelines.gemini.handover import ToolState, tool_answer
from pipelines.gemini.send_queue import Send
from pipelines.gemini.tool_ledger import Entry, Status, ToolLedger
from pipelines.gemini.tools import Tool


class ToolCalls:
    """The tool calls of one call, over all of its sessions."""

    def __init__(
        self,
        tools: Sequence[Tool],
        call: LiveCall,
        record: Record,
        measure: MeasureSink,
        *,
        step: FrameProcessor,
        answer: Callable[[Send], None],
    ) -> None:
        """`step` pushes the frames, and has the tasks. `answer` sends a tool's answer."""
        self._tools = {tool.name: tool for tool in tools}
        self._call = call
        self._record = record
        self._measure = measure
        self._step = step
        self._answer = answer
        self._ledger = ToolLedger()
        self._running: dict[Entry, asyncio.Task[None]] = {}
        # The results that the next session is told in its briefing.
        self._briefed: list[Entry] = []

    @property
    def is_running(self) -> bool:
        """A tool runs."""
        return bool(self._running)

    @property
    def is_open(self) -> bool:
        """A tool runs, or the model has not spoken of its result."""
        return self._ledger.is_open

    def use(self, tools: Sequence[Tool]) -> None:
        """The model may call these from now on; what runs goes on."""
        self._tools = {tool.name: tool for tool in tools}

    async def begin(self, called: types.FunctionCall) -> None:
        """Start the tool that the model called, or wait for the run that another session began."""
        call_id, name = called.id or "", called.name or ""
        arguments = dict(called.args or {})
        entry, is_new = self._ledger.asked(call_id, name, arguments)
        if not is_new:
            self._record.event("tool.asked_again", {"name": name})
            if entry.status is Status.UNTOLD:
                self._tell(entry)
            return
        self._record.event("tool.called", {"name": name, "arguments": arguments})
        await self._step.push_frame(
            FunctionCallInProgressFrame(
                function_name=name, tool_call_id=call_id, arguments=arguments
            )
        )
        self._running[entry] = self._step.create_task(self._run(entry, call_id), f"tool {name}")

    async def take_back(self, call_id: str) -> None:
        """Cancel a call that the model has cancelled, unless another session waits for it."""
        entry = self._ledger.canceled(call_id)
        task = self._running.pop(entry, None) if entry is not None else None
        if task is not None:
            self._record.event("tool.canceled", {"id": call_id})
            await self._step.cancel_task(task)
            logger.debug("A tool call was cancelled by the model")

    async def stop(self) -> None:
        """Cancel all running calls."""
        for task in list(self._running.values()):
            await self._step.cancel_task(task)
        self._running.clear()

    # --- sessions that replace each other ----------------------------------------------------

    def brief(self) -> list[ToolState]:
        """What a session that takes over is to know, results first."""
        self._briefed = self._ledger.results
        return [
            *(ToolState(each.name, each.arguments, each.response) for each in self._briefed),
            *(ToolState(each.name, each.arguments) for each in self._ledger.running),
        ]

    def taken_over(self) -> None:
        """The session that was briefed last serves from now on."""
        self._ledger.session_lost()
        for entry in self._briefed:
            if entry.status is Status.UNTOLD:
                self._ledger.told(entry, briefed=True)
        self._briefed = []

    def kept(self) -> None:
        """A handle covers what the session was told, or the model has spoken of it."""
        self._ledger.kept()

    # --- one call ----------------------------------------------------------------------------

    async def _run(self, entry: Entry, call_id: str) -> None:
        loop = asyncio.get_running_loop()
        began, name, arguments = loop.time(), entry.name, dict(entry.arguments)
        tool = self._tools.get(name)
        if tool is None:
            response: dict[str, object] = {"error": f"There is no tool named {name!r}."}
            why: str | None = "there is no such tool"
        else:
            answer = await tool.run(
                self._call, arguments, let_go=lambda: self._measure(ToolLetGo(name))
            )
            response, why = answer.response, answer.why
        self._running.pop(entry, None)
        self._ledger.done(entry, response)
        took_ms = round((loop.time() - began) * 1000)
        ok = "error" not in response
        detail = {"name": name, "ok": ok, "ms": took_ms} | ({"why": why} if why else {})
        self._record.event("tool.answered", detail)
        self._tell(entry)
        await self._step.push_frame(
            FunctionCallResultFrame(
                function_name=name, tool_call_id=call_id, arguments=arguments, result=response
            )
        )

    def _tell(self, entry: Entry) -> None:
        async def send(session: ModelSession) -> None:
            if entry.status is not Status.UNTOLD:
                return  # the session was told in its briefing
            if entry.askers:
                responses = [
                    types.FunctionResponse(id=call_id, name=entry.name, response=entry.response)
                    for call_id in entry.askers
                ]
                for response in responses:
                    await session.send_tool_response(function_responses=response)
            else:
                # A session takes no answer to a call of another session.
                text = tool_answer(entry.name, entry.response)
                await session.send_realtime_input(text=text)
            self._ledger.told(entry)

        self._answer(send)
