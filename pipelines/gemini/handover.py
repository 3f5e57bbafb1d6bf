"""Handover: what a connection is told that takes over a call, in which order.

    notes   tool results · what was said · how far the reply got     (context, nobody answers it)
    audio   what the caller said since the last point that is kept   (the turn that is owed)
    prompt  a line that makes the model speak                        (where no audio does)

A resumed session remembers what its handle covers; a fresh one is told the conversation as heard.
Neither greets again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.model_instructions import (
    ANSWER,
    GO_ON,
    GO_ON_ANSWERING,
    LATELY,
    REMEMBER,
    TOOL_ANSWERED,
    TOOL_RUNS,
    WHAT_FOLLOWS,
)


@dataclass(frozen=True, slots=True)
class ToolState:
    """A tool call that is open; `response` is None while it runs."""

    name: str
    arguments: Mapping[str, Any]
    response: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the call stands when a connection takes over. Texts are in the speakers' words."""

    # The session remembers what its handle covers.
    resumed: bool
    # The caller's audio of the turn that is owed is sent again.
    replays: bool
    # The conversation as heard.
    conversation: str = ""
    # Turns that are over, and that the handle may not cover.
    lately: str = ""
    # What the caller said in the turn that is owed, as far as it was transcribed.
    asked: str = ""
    # A reply was begun, and not generated to its end: its words.
    said: str | None = None
    tools: Sequence[ToolState] = ()
    # What the model was told and has not replied to.
    prompts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """Notes and prompts, each sent as a message of its own."""

    notes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()


def hand_over(situation: Situation) -> Handover:
    """Decide what the connection is told."""
    asked, said = _line(situation.asked), situation.said
    results = [_answered(tool) for tool in situation.tools if tool.response is not None]
    runs = [_runs(tool) for tool in situation.tools if tool.response is None]
    said_so_far = situation.lately if situation.resumed else situation.conversation
    template = LATELY if situation.resumed else REMEMBER
    remember = [template.format(said_so_far)] if said_so_far else []
    if situation.replays:
        told = [WHAT_FOLLOWS.format(_line(said))] if said is not None else []
        notes = (*results, *runs, *remember, *told)
        return Handover(notes, tuple(situation.prompts))
    prompts = list(situation.prompts)
    if said is not None and asked:
        prompts.append(GO_ON_ANSWERING.format(asked, _line(said)))
    elif said is not None:
        prompts.append(GO_ON.format(_line(said)))
    elif asked and not situation.tools:
        prompts.append(ANSWER.format(asked))
    if said is None and results:
        # Nothing else makes the model speak of them.
        return Handover((*runs, *remember), (*results, *prompts))
    return Handover((*results, *runs, *remember), tuple(prompts))


def tool_answer(name: str, response: Mapping[str, Any]) -> str:
    """A tool's answer as text, for a session that did not ask."""
    return TOOL_ANSWERED.format(name, json.dumps(response, ensure_ascii=False))


def _answered(tool: ToolState) -> str:
    return tool_answer(tool.name, tool.response or {})


def _runs(tool: ToolState) -> str:
    return TOOL_RUNS.format(tool.name, json.dumps(tool.arguments, ensure_ascii=False, default=str))


def _line(text: str) -> str:
    return " ".join(text.split())
