"""Runs the model's tool calls, each in a task of its own, and sends their answers.

called ─▶ tool.called ─▶ running ─┬─▶ tool.answered ─▶ the session that called it or, as text,
                                  │                    the session that replaced that
                                  └─▶ cancelled by the model: tool.canceled, no answer
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from google.genai import types
from loguru import logger
from pipecat.frames.frames import Frame, FunctionCallInProgressFrame, FunctionCallResultFrame

from agent.measures import MeasureSink, ToolLetGo
from agent.model_instructions import TOOL_ANSWERED
from agent.ports import LiveCall, Record
from pipelines.gemini.client import ModelSession
from pipelines.gemini.send_queue import Send
from pipelines.gemini.tools import Tool

StartTask = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class ToolCalls:
    """The running tool calls of one call."""

    def __init__(
        self,
        tools: Sequence[Tool],
        call: LiveCall,
        record: Record,
        *,
        start: StartTask,
        cancel: Callable[[asyncio.Task[None]], Awaitable[None]],
        push: Callable[[Frame], Awaitable[None]],
        answer: Callable[[Send], None],
        connections: Callable[[], int],
        measure: MeasureSink,
    ) -> None:
        """`start` and `cancel` manage the step's tasks, `push` pushes a frame.

        `answer` sends a tool's answer to the model; `connections` counts the sessions so far.
        """
        self._tools = {tool.name: tool for tool in tools}
        self._call = call
        self._record = record
        self._start = start
        self._cancel = cancel
        self._push = push
        self._answer = answer
        self._connections = connections
        self._measure = measure
        self._running: dict[str, asyncio.Task[None]] = {}

    async def begin(self, called: types.FunctionCall) -> None:
        """Start the tool that the model called."""
        call_id, name = called.id or "", called.name or ""
        arguments = dict(called.args or {})
        self._record.event("tool.called", {"name": name, "arguments": arguments})
        await self._push(
            FunctionCallInProgressFrame(
                function_name=name, tool_call_id=call_id, arguments=arguments
            )
        )
        self._running[call_id] = self._start(self._run(call_id, name, arguments), f"tool {name}")

    async def take_back(self, call_id: str) -> None:
        """Cancel a call that the model has cancelled."""
        task = self._running.pop(call_id, None)
        if task is not None:
            self._record.event("tool.canceled", {"id": call_id})
            await self._cancel(task)
            logger.debug("A tool call was cancelled by the model")

    async def stop(self) -> None:
        """Cancel all running calls."""
        for task in list(self._running.values()):
            await self._cancel(task)
        self._running.clear()

    async def _run(self, call_id: str, name: str, arguments: dict[str, object]) -> None:
        loop = asyncio.get_running_loop()
        began, asked_over = loop.time(), self._connections()
        tool = self._tools.get(name)
        if tool is None:
            response: dict[str, object] = {"error": f"There is no tool named {name!r}."}
            why: str | None = "there is no such tool"
        else:
            answer = await tool.run(
                self._call, arguments, let_go=lambda: self._measure(ToolLetGo(name))
            )
            response, why = answer.response, answer.why
        self._running.pop(call_id, None)
        took_ms = round((loop.time() - began) * 1000)
        ok = "error" not in response
        detail = {"name": name, "ok": ok, "ms": took_ms} | ({"why": why} if why else {})
        self._record.event("tool.answered", detail)

        async def send(session: ModelSession) -> None:
            if asked_over != self._connections():
                # A session takes no answer to a call of another session.
                text = TOOL_ANSWERED.format(name, json.dumps(response, ensure_ascii=False))
                await session.send_realtime_input(text=text)
                return
            await session.send_tool_response(
                function_responses=types.FunctionResponse(id=call_id, name=name, response=response)
            )

        self._answer(send)
        await self._push(
            FunctionCallResultFrame(
                function_name=name, tool_call_id=call_id, arguments=arguments, result=response
            )
        )
