"""Fast parser for the two most frequent Live API messages: audio and transcription.

It returns None for all other messages, speech at other rates than 24 kHz among them;
`server_message` reads these.

Source: https://ai.google.dev/api/live
"""

import json
import re
from base64 import b64decode
from binascii import a2b_base64
from dataclasses import dataclass
from typing import Any

from pipelines.gemini.speech_format import pcm_rate
from pipelines.rates import GEMINI_SPEAKS_AT


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of a transcript, of the caller or of the model."""

    text: str
    by_caller: bool


# A message with one piece of speech at 24 kHz: before and after its base64.
_BEFORE_SPEECH = re.compile(
    r' \{ "serverContent" : \{ "modelTurn" : \{ "parts" : \[ \{ "inlineData" : \{ '
    r'"mimeType" : "audio/pcm(?:;rate=24000)?" , "data" : "'.replace(" ", r"[ \t\r\n]*").encode()
)
_BEHIND_SPEECH = re.compile(rb'"[ \t\r\n]*(?:\}[ \t\r\n]*){2}\][ \t\r\n]*(?:\}[ \t\r\n]*){3}')


def read_content(message: str | bytes) -> bytes | Words | None:
    """Parse a message that holds only speech (returns PCM16) or only a piece of a transcript.

    None for all other messages.
    """
    if isinstance(message, bytes) and (speech := read_speech(message)) is not None:
        return speech
    try:
        read = json.loads(message)
    except (ValueError, RecursionError):
        return None
    match read:
        case {"serverContent": {"modelTurn": {"parts": [*parts], **role}, **beside}, **more}:
            return None if beside or more or role.keys() - {"role"} else _sound_of(parts)
        case {"serverContent": {"outputTranscription": {"text": str(text), **of_it}, **beside}}:
            if len(read) == 1 and not beside and not of_it:
                return Words(_sendable(text), by_caller=False)
        case {"serverContent": {"inputTranscription": {"text": str(text), **of_it}, **beside}}:
            if len(read) == 1 and not beside and not of_it:
                return Words(_sendable(text), by_caller=True)
    return None


def read_speech(message: bytes) -> bytes | None:
    """Match a message with one piece of speech in the usual notation; returns its PCM16.

    Does not parse JSON. None for all others, which may hold speech in another notation.
    """
    before = _BEFORE_SPEECH.match(message)
    if before is None:
        return None
    end = message.find(b'"', before.end())
    if end < 0 or _BEHIND_SPEECH.fullmatch(message, end) is None:
        return None
    try:
        return a2b_base64(message[before.end() : end], strict_mode=True)
    except ValueError:
        return None


def _sound_of(parts: list[Any]) -> bytes | None:
    sound = []
    for part in parts:
        match part:
            case {"inlineData": {"mimeType": str(kind), "data": str(data), **more}, **beside}:
                if more or beside or pcm_rate(kind) != GEMINI_SPEAKS_AT:
                    return None
                try:
                    sound.append(b64decode(data, validate=True))
                except ValueError:
                    return None
            case _:
                return None
    if len(sound) == 1:
        return sound[0]
    # A trailing half sample is dropped downstream, so nothing may be appended to it.
    return None if any(len(piece) % 2 for piece in sound[:-1]) else b"".join(sound)


def _sendable(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON may hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()
