"""Instructions to the model beside what the caller says, as text in brackets.

The model does not speak them. Their placeholders are filled with `str.format`.
"""

# Beginning of a call, and a session that replaces a lost one.
GREET = '[The caller is on the line. Greet them: say this, word for word: "{}"]'
GO_ON = (
    "[The connection broke while you were speaking. This is as far as you got, and the caller has "
    'heard it: "{}". Go on from there; do not greet again.]'
)
ANSWER = (
    '[The connection broke before you could answer. The caller had said: "{}". Answer them now; do '
    "not greet again.]"
)
GO_ON_ANSWERING = (
    '[The connection broke while you were answering. The caller had said: "{}". This is as far as '
    'you got, and the caller has heard it: "{}". Go on from there; do not greet again.]'
)
CUT_OFF = (
    "[The line was interrupted for a moment, and you may not have heard what the caller said "
    "meanwhile. Say so in one short sentence and ask them to go on; do not greet again.]"
)
WHAT_FOLLOWS = (
    "[The connection broke while you were answering. What the caller had said comes again now. The "
    'caller has heard this of your answer: "{}". Go on from there; do not begin again.]'
)
LATELY = "[The connection broke, and you may not remember what was said last. As it was said:]\n{}"
TOOL_RUNS = (
    "[You had called the tool {} with {} when the connection broke. It still runs, and its answer "
    "comes; do not call it again.]"
)
TOOL_ANSWERED = (
    "[You had called the tool {} when the connection broke. Its answer is: {}. Go on from there.]"
)
REMEMBER = (
    "[You are in the middle of this phone call. This is what was said so far, as heard. Go on from "
    "here; do not greet again.]\n{}"
)

# Silence, a stalled model, and the end of a call.
ASK_WHETHER_THERE = (
    "[The caller has been silent for a while. Ask in one short sentence whether they are there.]"
)
CALLER_WAITS = (
    "[The caller has spoken, and waits for your answer. Answer now; if you did not understand, say "
    "so in one short sentence.]"
)
NOT_HEARD = "[The caller could not hear you: the line was silent. Say your answer again.]"
BYE_TO_SILENCE = "[The caller is still silent. Say goodbye in one short sentence.]"
BYE_TO_LIMIT = (
    "[The time for this call is up. Tell the caller so in one short sentence and say goodbye.]"
)

# From a supervisor.
HINT = (
    '[A supervisor tells you, and the caller does not hear it: "{}". Act on it in what you say '
    "from now on; do not mention it.]"
)

# From tools and from the keypad.
SAY = '[Say this to the caller now, word for word: "{}"]'
KEYS_PRESSED = "[The caller pressed {} on the keypad.]"
