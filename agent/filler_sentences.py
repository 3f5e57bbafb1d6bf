"""What the agent says when its answer takes too long, in the language of the call."""

_FILLERS = {
    "ar": "لحظة من فضلك.",
    "cs": "Okamžik, prosím.",
    "da": "Et øjeblik, tak.",
    "de": "Einen Moment, bitte.",
    "en": "One moment, please.",
    "es": "Un momento, por favor.",
    "fi": "Hetki, olkaa hyvä.",
    "fr": "Un instant, s'il vous plaît.",
    "hi": "एक क्षण, कृपया।",
    "it": "Un momento, per favore.",
    "ja": "少々お待ちください。",
    "ko": "잠시만 기다려 주세요.",
    "nl": "Een moment, alstublieft.",
    "no": "Et øyeblikk, takk.",
    "pl": "Chwileczkę, proszę.",
    "pt": "Um momento, por favor.",
    "ro": "Un moment, vă rog.",
    "sv": "Ett ögonblick, tack.",
    "tr": "Bir dakika, lütfen.",
    "uk": "Хвилинку, будь ласка.",
    "zh": "请稍等。",
}


def filler_sentence(language: str) -> str:
    """The sentence in a language (RFC 5646), English where there is none in it."""
    return _FILLERS.get(language.split("-")[0].lower(), _FILLERS["en"])
