"""What the agent knows before the call: Pipecat's `context`, as the prompt of the request."""

from collections.abc import Mapping
from typing import Any

from server.replay.fields import Fields
from server.replay.problems import Findings
from server.replay.reading_call import complaints
from server.replay.scenario import Direction
from server.replay.yaml_lines import Node

_SPEAKERS = {"user": "Caller", "assistant": "You"}
_PROMPTS = ("system", "developer")
_BEFORE = "This was said before, in the same conversation; go on from there:"


def with_context(
    request: Mapping[str, Any], fields: Fields, direction: Direction
) -> Mapping[str, Any]:
    """The request with the messages under `context` in its prompt.

    System messages are the prompt, if the request has none; what was said before stands behind it.
    What cannot be said so is noted as not checked.
    """
    given = request.get("system_prompt")
    own = given if isinstance(given, str) else None
    prompts: list[str] = [] if own is None else [own]
    said: list[str] = []
    items = fields.items("context")
    for name, item in items:
        message = _message(item, name, fields.findings)
        if message is None:
            continue
        role, text = message
        if role not in _PROMPTS:
            said.append(f"{_SPEAKERS[role]}: {text}")
        elif own is None:
            prompts.append(text)
        else:
            fields.findings.leave_out(
                item.where, f"{role} message: the call's system_prompt is used"
            )
    if said and not prompts:
        what = "context: there is no prompt that what was said before could stand behind"
        fields.leave_out("context", what)
    if not prompts or (own is not None and not said):
        return request
    prompt = "\n".join(prompts)
    if said:
        prompt = "\n".join([prompt, "", _BEFORE, *said])
    for _, expected in complaints({"system_prompt": prompt}, direction):
        fields.wrong("context", f"a prompt that the server takes: {expected}", "another")
        return request
    return {**request, "system_prompt": prompt}


def _message(node: Node, name: str, findings: Findings) -> tuple[str, str] | None:
    if not isinstance(node.value, Mapping):
        findings.wrong(node.where, name, "a message with role and content", node.shown())
        return None
    plain = node.plain()
    role, text = plain.get("role"), _text(plain.get("content"))
    known = isinstance(role, str) and (role in _SPEAKERS or role in _PROMPTS)
    if not known or text is None or set(plain) - {"role", "content", "name"}:
        findings.leave_out(node.where, "context message: only words can be put into the prompt")
        return None
    return role, text


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content.strip() or None
    if not isinstance(content, list) or not content:
        return None
    texts = [
        part["text"]
        for part in content
        if isinstance(part, dict)
        and set(part) == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    ]
    return "\n".join(texts) if len(texts) == len(content) else None
