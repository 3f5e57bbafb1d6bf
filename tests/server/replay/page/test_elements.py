"""What is text stays text."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from server.replay.page.elements import Html, element, joined


class Read(HTMLParser):
    """What a browser would see: elements and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


printable = st.text(st.characters(blacklist_categories=["Cs", "Cc"]))


@given(text=printable, value=printable)
def test_any_text_is_read_back_and_makes_no_element(text: str, value: str) -> None:
    read = Read(element("p", text, title=value))
    assert read.elements == [("p", {"title": value})]
    assert read.text == text


@given(st.text())
def test_nothing_is_written_that_cannot_be_encoded(text: str) -> None:
    written = element("p", text + "\0\ud800", title=text)
    assert b"\0" not in written.encode()


def test_attributes_are_named_as_in_html_and_left_out_when_false() -> None:
    made = element("button", class_="x", data_at=1.5, hidden=True, title=None, disabled=False)
    assert made == '<button class="x" data-at="1.5" hidden></button>'


def test_children_may_be_markup_text_lists_and_nothing() -> None:
    assert joined(["<", Html("<br>"), None, ["&", [Html("<i>")]]]) == "&lt;<br>&amp;<i>"


def test_only_void_elements_stay_open() -> None:
    assert element("input", type="range") == '<input type="range">'
    assert element("path", d="M0 0Z") == '<path d="M0 0Z"></path>'
