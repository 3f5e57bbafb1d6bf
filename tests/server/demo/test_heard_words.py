"""Words of the agent's that the caller heard: found in the sound of the telephone."""

import numpy as np
from numpy.typing import NDArray

from server.demo.cluster_calls import ANSWERS
from server.demo.heard_words import KnownReply, heard_whole
from server.emulators.speech import spoken_words
from server.emulators.twilio.mulaw import RATE, decode, encode

VOICE = "en-us"
SENTENCE = ANSWERS[2]
WORDS = SENTENCE.split()
# The reply is heard so long after the model sent it.
LATE_SECS = 0.3


def at_phone(*parts: NDArray[np.int16]) -> NDArray[np.int16]:
    """As a phone hears it, with a second before and three behind."""
    return decode(encode(np.concatenate([silence(1.0 + LATE_SECS), *parts, silence(3.0)])))


def silence(secs: float) -> NDArray[np.int16]:
    return np.zeros(round(secs * RATE), dtype=np.int16)


def reply(text: str = SENTENCE, at_secs: float = 1.0) -> KnownReply:
    return KnownReply(text, VOICE, at_secs)


def sound(of: KnownReply) -> NDArray[np.int16]:
    return of.sound.astype(np.int16)


def middle_of(word: int, text: str = SENTENCE) -> int:
    spoken = spoken_words(text, voice=VOICE)[word]
    return round((spoken.start_secs + spoken.end_secs) / 2 * RATE)


def test_every_word_of_a_reply_that_comes_whole_is_heard() -> None:
    assert heard_whole([reply()], at_phone(sound(reply()))) == [set(range(len(WORDS)))]


def test_a_word_that_is_cut_in_the_middle_is_not_heard_whole() -> None:
    (heard,) = heard_whole([reply()], at_phone(sound(reply())[: middle_of(10)]))
    assert heard == set(range(10))


def test_words_behind_a_gap_are_heard() -> None:
    whole, cut = sound(reply()), middle_of(10)
    (heard,) = heard_whole([reply()], at_phone(whole[:cut], silence(0.5), whole[cut:]))
    assert heard == set(range(len(WORDS))) - {10}


def test_a_reply_that_was_never_heard_has_no_words_in_another_one() -> None:
    other = reply(ANSWERS[3])
    assert heard_whole([reply(), other], at_phone(sound(reply())))[1] == set()
    assert heard_whole([reply()], at_phone(silence(5.0))) == [set()]


def test_what_is_said_again_is_heard_of_both_replies() -> None:
    rest = reply(" ".join(WORDS[8:]), at_secs=6.0)
    cut = middle_of(11)
    gap = silence(6.0 - 1.0 - cut / RATE)
    heard = heard_whole([reply(), rest], at_phone(sound(reply())[:cut], gap, sound(rest)))
    assert heard == [set(range(11)), set(range(len(WORDS) - 8))]


def test_words_that_were_not_generated_were_not_said() -> None:
    begun = KnownReply(SENTENCE, VOICE, 1.0, secs=1.5)
    assert [word.text for word in begun.words] == WORDS[:5]
