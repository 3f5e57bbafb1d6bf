"""Escapes characters that a terminal or a reader of lines would obey instead of showing."""

from unicodedata import category

# Controls (newlines and escape sequences among them), formats (bidi overrides), halves of surrogate
# pairs, and the separators of lines and paragraphs.
_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Joiners are part of how Persian, Indian languages and emoji are written.
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def printable(text: str) -> str:
    """`text` on one line: `\\x1b`, `\\n` and `\\u202e` for what would be obeyed."""
    if text.isprintable():
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if category(character) not in _OBEYED or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode()
