"""Builds TwiML documents: open a media stream, say a sentence, transfer, hang up.

A <Redirect> always follows the stream: Twilio asks us again when the socket closes, for whatever
reason.

Sources: https://www.twilio.com/docs/voice/twiml/stream, https://www.twilio.com/docs/voice/twiml
"""

from string import Template
from xml.sax.saxutils import escape

from twilio.twiml.voice_response import Connect, VoiceResponse

_APOLOGY = {
    "en": "I am sorry, something went wrong on our side. Please call again later. Goodbye.",
    "es": "Lo siento, algo ha fallado de nuestro lado. Por favor, llame más tarde. Adiós.",
    "de": "Entschuldigung, bei uns ist etwas schiefgelaufen. "
    "Bitte rufen Sie später noch einmal an. Auf Wiederhören.",
    "fr": "Désolé, un problème est survenu de notre côté. Veuillez rappeler plus tard. Au revoir.",
}
# What a caller hears when a call cannot go on: by an end reason of ours or why it was not taken,
# then by language.
SENTENCES: dict[str, dict[str, str]] = {
    "no_model": _APOLOGY,
    "system": _APOLOGY,
    "handed_on": {
        "en": "I am sorry, I have a problem on my side. I am connecting you with somebody else.",
        "es": "Lo siento, tengo un problema de mi lado. Le comunico con otra persona.",
        "de": "Entschuldigung, bei mir ist etwas schiefgelaufen. "
        "Ich verbinde Sie mit jemand anderem.",
        "fr": "Désolé, j'ai un problème de mon côté. Je vous mets en relation avec quelqu'un.",
    },
    "busy": {
        "en": "All our lines are busy right now. Please call again in a few minutes. Goodbye.",
        "es": "Todas nuestras líneas están ocupadas. Por favor, llame en unos minutos. Adiós.",
        "de": "Im Moment sind alle Leitungen belegt. "
        "Bitte rufen Sie in einigen Minuten noch einmal an. Auf Wiederhören.",
        "fr": "Toutes nos lignes sont occupées. "
        "Veuillez rappeler dans quelques minutes. Au revoir.",
    },
    "please_hold": {
        "en": "All our lines are busy right now. Please hold the line.",
        "es": "Todas nuestras líneas están ocupadas. Por favor, espere.",
        "de": "Im Moment sind alle Leitungen belegt. Bitte bleiben Sie in der Leitung.",
        "fr": "Toutes nos lignes sont occupées. Merci de patienter.",
    },
    "not_in_service": {
        "en": "This number is not in service. Goodbye.",
        "es": "Este número no está en servicio. Adiós.",
        "de": "Diese Nummer ist nicht vergeben. Auf Wiederhören.",
        "fr": "Ce numéro n'est pas en service. Au revoir.",
    },
}
# The locale in which Twilio's <Say> speaks each language when a call names only the language.
LOCALES = {"en": "en-US", "es": "es-ES", "de": "de-DE", "fr": "fr-FR"}

_QUOTE = {'"': "&quot;"}


def open_stream(*, url: str, status_url: str, token: str, next_url: str) -> str:
    """Connect the call to our WebSocket, and come back to `next_url` when it closes."""
    return _OPEN_STREAM.substitute(
        url=escape(url, _QUOTE),
        status_url=escape(status_url, _QUOTE),
        token=escape(token, _QUOTE),
        next_url=escape(next_url, _QUOTE),
    )


def _stream_and_redirect(*, url: str, status_url: str, token: str, next_url: str) -> str:
    response = VoiceResponse()
    connect = Connect()
    stream = connect.stream(url=url, status_callback=status_url, status_callback_method="POST")
    stream.parameter(name="token", value=token)
    response.append(connect)
    response.redirect(next_url, method="POST")
    return str(response)


# Built once as a template, because a caller waits for it at every answer.
_OPEN_STREAM = Template(
    _stream_and_redirect(
        **{name: f"${name}" for name in ("url", "status_url", "token", "next_url")}
    )
)


def say_and_hang_up(sentence: str, language: str) -> str:
    """Speak one of SENTENCES in the call's language (or English), then hang up."""
    response = VoiceResponse()
    _say(response, sentence, language)
    response.hangup()
    return str(response)


def wait(sentence: str | None, language: str, *, secs: int, next_url: str) -> str:
    """Speak one of SENTENCES or nothing, let the caller wait, then come back to `next_url`."""
    response = VoiceResponse()
    if sentence is not None:
        _say(response, sentence, language)
    response.pause(length=secs)
    response.redirect(next_url, method="POST")
    return str(response)


def _say(response: VoiceResponse, sentence: str, language: str) -> None:
    words = SENTENCES[sentence]
    base = language.split("-")[0]
    if base in words:
        text, locale = words[base], language if "-" in language else LOCALES[base]
    else:
        text, locale = words["en"], LOCALES["en"]
    response.say(text, language=locale)


def transfer(
    phone_number: str, *, caller_id: str | None, sentence: str | None = None, language: str = "en"
) -> str:
    """Speak one of SENTENCES or nothing, then connect the caller to this number.

    The call ends when they are done. Without a `caller_id`, Twilio shows the caller's own number.
    """
    response = VoiceResponse()
    if sentence is not None:
        _say(response, sentence, language)
    response.dial(phone_number, caller_id=caller_id)
    response.hangup()
    return str(response)


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)
