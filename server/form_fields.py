"""The fields of a form as `urllib.parse.parse_qsl` gives them, blank ones too.

Twilio sends thirty in each form, nearly all of them without an escape. `parse_qsl` looks for some
in each name and each value, by four calls a field.
"""

from urllib.parse import unquote_to_bytes


def form_fields(text: str, *, most: int) -> list[tuple[str, str]]:
    """Name and value of each field of an `application/x-www-form-urlencoded` text, in order.

    Raises: ValueError when there are more than `most`.
    """
    if text.count("&") >= most:
        raise ValueError(f"more than {most} fields")
    fields = []
    for field in text.split("&"):
        if field:
            name, _, value = field.partition("=")
            if "%" in field or "+" in field:
                name, value = _unescaped(name), _unescaped(value)
            fields.append((name, value))
    return fields


def _unescaped(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode(errors="replace")
