"""Forms are read as the standard library reads them."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.form_fields import form_fields

# What means something in a form, what looks as if it did, and what an escape may decode to.
PIECES = st.sampled_from(
    ["&", "=", "+", "%", ";", "%2B", "%26", "%3d", "%zz", "%e", "%00", "ä", "\xff", "\ud7ff", "😀"]
)
# Bytes of UTF-8 in any order, and each character that a server can be sent.
ESCAPES = st.sampled_from([f"%{byte:02X}" for byte in b"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff"])
LATIN_1 = st.text(st.characters(max_codepoint=255), max_size=3)
FORMS = st.lists(st.one_of(PIECES, ESCAPES, LATIN_1, st.text("ab1 _")), max_size=30).map("".join)


@given(FORMS, st.integers(1, 12))
@example("", 1)
@example("&&", 3)
@example("&&", 2)
@example("a;b=c;d=e", 1)
@example("a=b=c&=&=x&a&a=%", 5)
def test_any_text_is_read_as_by_parse_qsl(text: str, most: int) -> None:
    try:
        expected = parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    except ValueError:
        with pytest.raises(ValueError, match="fields"):
            form_fields(text, most=most)
    else:
        assert form_fields(text, most=most) == expected


@given(st.lists(st.tuples(st.text(), st.text()), max_size=10))
def test_what_was_written_as_a_form_comes_back(fields: list[tuple[str, str]]) -> None:
    text = urlencode(fields, errors="replace")
    kept = [(n.encode(errors="replace"), v.encode(errors="replace")) for n, v in fields]
    assert [(n.encode(), v.encode()) for n, v in form_fields(text, most=10)] == kept
