"""Writes the generated part of docs/api.md from the server's OpenAPI document: `make reference`.

With `--check` it writes nothing, and ends with 1 when the page is not what it would write.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from server.app import create_app
from server.settings.settings import Settings

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "api.md"
BEGINS = "<!-- Made by `make reference` from the OpenAPI document: change the code. -->\n"
ENDS = "<!-- end of what is made -->\n"
BETWEEN = re.compile(re.escape(BEGINS) + ".*?" + re.escape(ENDS), re.DOTALL)
# Each of them may come of every route of calls; a table of its own explains them.
COMMON = {"401", "403", "422", "429", "503"}
# What routes take, and what they answer with.
OBJECTS = (
    *("CallRequest", "VadConfig", "CallChange", "Hint", "Move", "Moving"),
    *("CallView", "CallDetail", "CallResult", "TurnView", "EventView", "Tokens"),
    *("LatencyView", "ResponseView", "ShareView"),
)
WORDS = ("CallStatus", "EndReason", "Direction", "Speaker", "Driver")
# Fields of these are in another object's table.
INHERITED = {"CallDetail": "CallView", "CallResult": "CallDetail"}
CALL_ID = "0d9c5a4e8f3b4c6f9a1e2d3c4b5a6978"

Json = Mapping[str, Any]


def made() -> str:
    """The generated part, with its two comments."""
    api = create_app(Settings()).openapi()
    objects = api["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    calls = [one for one in operations if "calls" in one[2]["tags"]]
    lines = ["## Routes", "", "| | |", "|---|---|", *(_entry(*one) for one in calls)]
    for one in calls:
        lines += ["", *_operation(*one, objects)]
    lines += ["", "## Errors of every route", "", *_errors(calls[1][2], COMMON, objects)]
    lines += ["", "## Objects"]
    for name in OBJECTS:
        lines += ["", *_object(name, objects)]
    lines += ["", "## Words", "", "| | | |", "|---|---|---|"]
    lines += [
        f"| {name} | {_kind(objects[name])} | {_line(objects[name]['description'])} |"
        for name in WORDS
    ]
    lines += ["", "## Other routes", "", "| | |", "|---|---|"]
    others = [one for one in operations if "calls" not in one[2]["tags"]]
    lines += [f"| `{method} {path}` | {_first(one)} |" for method, path, one in others]
    return BEGINS + "\n" + "\n".join(lines) + "\n" + ENDS


def _entry(method: str, path: str, operation: Json) -> str:
    anchor = re.sub(r"[^\w\- ]", "", f"{method} {path}".lower()).replace(" ", "-")
    return f"| [`{method} {path}`](#{anchor}) | {_first(operation)} |"


def _first(operation: Json) -> str:
    return _line(operation["description"].split("\n\n")[0])


def _operation(method: str, path: str, operation: Json, objects: Json) -> Iterator[str]:
    yield f"### `{method} {path}`"
    yield ""
    yield operation["description"].replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n\n")
    yield ""
    asked = [one for one in operation.get("parameters", ()) if one["in"] != "path"]
    if asked:
        yield "| Parameter | Type | Default | |"
        yield "|---|---|---|---|"
        for one in asked:
            schema = one["schema"]
            where = "header" if one["in"] == "header" else "query"
            says = one.get("description") or schema.get("description") or ""
            yield f"| `{one['name']}` ({where}) | {_type(schema)} | {_default(schema)} | {says} |"
        yield ""
    yield from _example(method, path, operation, objects)
    done = next(code for code in operation["responses"] if code.startswith("2"))
    own = set(operation["responses"]) - {"200", "201", "204", done, *COMMON}
    # A route that says more of a common error than the others do.
    own |= {code for code in COMMON if _differs(code, operation)}
    if own:
        yield ""
        yield from _errors(operation, own, objects)


def _differs(code: str, operation: Json) -> bool:
    usual = {
        "403": "Without API keys: sent by a page of another site.",
        "429": "Too many requests without a valid API key (see Retry-After).",
        "503": "The database cannot be used now (see Retry-After).",
    }
    says = operation["responses"].get(code, {}).get("description")
    return code in usual and says is not None and says != usual[code]


def _example(method: str, path: str, operation: Json, objects: Json) -> Iterator[str]:
    yield "```http"
    yield f"{method} {path.replace('{call_id}', CALL_ID)}"
    if "requestBody" in operation:
        yield "Content-Type: application/json"
        yield ""
        yield _pretty(_example_of(operation["requestBody"], objects))
    yield "```"
    done = next(code for code in operation["responses"] if code.startswith("2"))
    answer = operation["responses"][done]
    yield ""
    if "application/json" not in answer.get("content", {}):
        what = next(iter(answer.get("content", {})), None)
        yield f"Answers {done}" + (f" with `{what}`." if what else ", without a body.")
        return
    yield f"Answers {done}:"
    yield ""
    yield "```json"
    yield _pretty(_example_of(answer, objects))
    yield "```"


def _example_of(holder: Json, objects: Json) -> Any:
    media = holder["content"]["application/json"]
    schema = objects[_name(media["schema"])]
    example = media["example"] if "example" in media else schema["examples"][0]
    # OpenAPI's are in the order of the alphabet.
    return {field: example[field] for field in schema["properties"] if field in example}


def _errors(operation: Json, codes: set[str], objects: Json) -> Iterator[str]:
    yield "| Status | When | Such as |"
    yield "|---|---|---|"
    for code in sorted(codes & set(operation["responses"])):
        answer = operation["responses"][code]
        example = _example_of(answer, objects)
        detail = example.get("detail", f"status: {example.get('status')}")
        if not isinstance(detail, str):
            detail = json.dumps(detail, ensure_ascii=False)
        yield f"| {code} | {_line(answer['description'])} | `{detail}` |"


def _object(name: str, objects: Json) -> Iterator[str]:
    schema = objects[name]
    without = objects[INHERITED[name]]["properties"] if name in INHERITED else {}
    needed = schema.get("required", ()) if name in ("CallRequest", "Hint") else ()
    yield f"### {name}"
    yield ""
    yield _line(schema["description"].partition("\n")[0])
    if name in INHERITED:
        parent = INHERITED[name]
        yield f"It has the fields of [{parent}](#{parent.lower()}), and:"
    yield ""
    fields = [
        (field, _type(value), "**needed**" if field in needed else _default(value), value)
        for field, value in schema["properties"].items()
        if field not in without
    ]
    fields.sort(key=lambda one: one[0] not in needed)
    has_defaults = any(default for _, _, default, _ in fields)
    yield "| Field | Type | Default | |" if has_defaults else "| Field | Type | |"
    yield "|---|---|---|---|" if has_defaults else "|---|---|---|"
    for field, kind, default, value in fields:
        middle = f"{kind} | {default}" if has_defaults else kind
        yield f"| `{field}` | {middle} | {_line(value.get('description', ''))} |"


def _type(schema: Json) -> str:
    """A type in words that a cell of a table may hold."""
    kinds = [one for one in schema.get("anyOf", (schema,)) if one.get("type") != "null"]
    text = " or ".join(_kind(one) for one in kinds)
    return text + (" or null" if len(kinds) < len(schema.get("anyOf", (schema,))) else "")


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        name = _name(schema)
        return f"[{name}](#{'words' if name in WORDS else name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    limits = {
        "minimum": "≥",
        "maximum": "≤",
        "minLength": "characters ≥",
        "maxLength": "characters ≤",
        "maxItems": "items ≤",
    }
    bounds = [f"{sign} {schema[key]:,.10g}" for key, sign in limits.items() if key in schema]
    kind = schema.get("format", schema.get("type", "any"))
    return kind + (f" ({', '.join(bounds)})" if bounds else "")


def _name(schema: Json) -> str:
    # A body that may be left out is that or null.
    reference = schema.get("$ref") or schema["anyOf"][0]["$ref"]
    return str(reference).rpartition("/")[2]


def _default(schema: Json) -> str:
    value = schema.get("default")
    return "" if value is None else f"`{json.dumps(value)}`"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _pretty(value: Any) -> str:
    """JSON as a person writes it: what is short stands on one line."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= 90 or not isinstance(value, dict | list):
        return text
    items: Iterator[str]
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}: {_pretty(inner)}" for key, inner in value.items())
        opening, closing = "{", "}"
    else:
        items = (_pretty(inner) for inner in value)
        opening, closing = "[", "]"
    inside = ",\n".join(items).replace("\n", "\n  ")
    return f"{opening}\n  {inside}\n{closing}"


def page() -> str:
    """The whole page, with its generated part renewed."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(BETWEEN.findall(text)) == 1, f"{PAGE.name} needs both comments, once"
    return BETWEEN.sub(lambda _: made(), text)


def main(words: list[str]) -> int:
    """Write the page, or compare it with what is there."""
    text = page()
    if "--check" in words:
        if PAGE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write("docs/api.md is not up to date: make reference\n")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
