"""What we tell the model beside what the caller says: in brackets, and never to be spoken."""

GREET = '[The caller is on the line. Greet them: say this, word for word: "{}"]'
GO_ON = (
    "[The connection broke while you were speaking. This is as far as you got, and the caller has "
    'heard it: "{}". Go on from there; do not greet again.]'
)
ANSWER = (
    '[The connection broke before you could answer. The caller had said: "{}". Answer them now; do '
    "not greet again.]"
)
TOOL_ANSWERED = (
    "[You had called the tool {} when the connection broke. Its answer is: {}. Go on from there.]"
)
REMEMBER = (
    "[You are in the middle of this phone call. This is what was said so far, as heard. Go on from "
    "here; do not greet again.]\n{}"
)
