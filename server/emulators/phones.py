"""How a written word sounds in the phones of CMU's acoustic model, by espeak-ng's own rules.

This is how names, numbers and words of other languages get into the recogniser's dictionary: a
foreign sound becomes the English phone nearest to it. That tells known sentences apart.
"""

import re
import unicodedata

from server.emulators.espeak import espeak

# Longest first wins: "tʃ" before "t".
_CMU: dict[str, str] = {
    "tʃ": "CH", "tɕ": "CH", "tʂ": "CH", "ts": "T S", "dʒ": "JH", "dʑ": "JH", "dʐ": "JH",
    "dz": "D Z", "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY",
    "ɔø": "OY", "ɔy": "OY", "ai": "AY", "ei": "EY", "au": "AW", "ou": "OW", "ɑu": "AW",
    "oi": "OY", "ɜː": "ER", "ɑː": "AA", "iə": "IH R", "eə": "EH R", "ʊə": "UH R", "a": "AA",
    "ä": "AA", "ɑ": "AA", "ɒ": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɤ": "AH",
    "ɘ": "AH", "ɵ": "UH", "ɔ": "AO", "o": "OW", "ɛ": "EH", "e": "EH", "eː": "EY", "ø": "ER",
    "œ": "ER", "ɜ": "ER", "ɚ": "ER", "ɝ": "ER", "ɪ": "IH", "ᵻ": "IH", "ɨ": "IH", "i": "IY",
    "y": "UW", "ʏ": "UH", "ʉ": "UW", "ɯ": "UW", "ʊ": "UH", "u": "UW", "b": "B", "β": "V",
    "d": "D", "ɖ": "D", "ð": "DH", "f": "F", "ɸ": "F", "ɡ": "G", "g": "G", "ɣ": "G", "ɢ": "G",
    "h": "HH", "ħ": "HH", "ɦ": "HH", "x": "HH", "χ": "HH", "j": "Y", "ʝ": "Y", "k": "K",
    "q": "K", "c": "K", "ɟ": "G", "ç": "HH", "l": "L", "ɫ": "L", "ɭ": "L", "ʎ": "L Y", "m": "M",
    "n": "N", "ɳ": "N", "ɲ": "N Y", "ŋ": "NG", "ɴ": "NG", "p": "P", "ɹ": "R", "r": "R",
    "ɾ": "R", "ʁ": "R", "ʀ": "R", "ɻ": "R", "ɽ": "R", "s": "S", "ʂ": "SH", "ʃ": "SH", "ɕ": "SH",
    "t": "T", "ʈ": "T", "θ": "TH", "v": "V", "ʋ": "V", "w": "W", "ɥ": "W", "z": "Z", "ʐ": "ZH",
    "ʒ": "ZH", "ʑ": "ZH", "ʔ": "", "ʕ": "",
}  # fmt: skip
_ENGLISH = {"ɾ": "T", "ɔːɹ": "AO R", "oːɹ": "AO R", "əl": "AH L", "aɪɚ": "AY ER"}
_SIGN = re.compile("|".join(sorted(map(re.escape, {**_CMU, **_ENGLISH}), key=len, reverse=True)))


class Unpronounceable(ValueError):
    """A word without a sound: espeak-ng has nothing to say for it."""


def pronounce(word: str, *, voice: str) -> str:
    """The CMU phones of a word or number, separated by spaces: "7" is "S EH V AH N".

    `voice` is espeak-ng's, and decides the language.

    Raises: Unpronounceable, UnknownVoice.
    """
    english = voice.startswith("en")
    phones: list[str] = []
    for phoneme in espeak().phonemes(word, voice=voice):
        bare = re.sub(r"[ˈˌʲʰʷˠˤ̃̚\d()-]", "", phoneme)
        for sign in _SIGN.findall(bare) or _SIGN.findall(_without_marks(bare)):
            phone = (_ENGLISH.get(sign) if english else None) or _CMU.get(sign, "")
            phones.extend(phone.split())
    if not phones:
        raise Unpronounceable(f"espeak-ng's voice {voice!r} has no sound for {word!r}")
    return " ".join(phones)


def _without_marks(phoneme: str) -> str:
    decomposed = unicodedata.normalize("NFD", phoneme)
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))
