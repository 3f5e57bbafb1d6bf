"""A sentence as the messages it is sent in: chunks of speech, its transcription in between."""

from collections import deque
from collections.abc import Iterator
from itertools import count

import numpy as np

from server.emulators.gemini_live import server_messages as messages
from server.emulators.gemini_live.server_messages import Message
from server.emulators.gemini_live.steps import Say
from server.emulators.speech import speak

WORDS_PER_PIECE = 3
BYTES_PER_SAMPLE = 2


def speech_messages(
    step: Say,
    *,
    voice: str,
    chunk_ms: int,
    two_parts_every: int,
    transcribed: bool,
    loudness: float = 1.0,
) -> Iterator[tuple[Message, float]]:
    """Each message in order, with the seconds of speech in it.

    Every `two_parts_every`-th message of speech has two parts; 0: none has.
    """
    pcm = speak(step.text, voice=voice, rate=step.rate)
    if loudness != 1.0:
        pcm = (np.frombuffer(pcm, dtype="<i2") * loudness).astype("<i2").tobytes()
    bytes_per_sec = step.rate * BYTES_PER_SAMPLE
    size = step.rate * chunk_ms // 1000 * BYTES_PER_SAMPLE
    chunks = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    pieces = deque(pieces_of(step.text, len(chunks)) if transcribed else ())
    if step.cut_after_secs is not None:
        chunks = chunks[: int(step.cut_after_secs * bytes_per_sec / size)]
    sent = 0
    for number in count(1):
        while pieces and pieces[0][0] <= sent:
            yield messages.output_transcription(pieces.popleft()[1]), 0.0
        if sent >= len(chunks):
            return
        parts = 2 if two_parts_every and number % two_parts_every == 0 else 1
        taken = chunks[sent : sent + parts]
        sent += len(taken)
        message = messages.speech(taken, step.rate, step.mime_type)
        yield message, sum(map(len, taken)) / bytes_per_sec


def pieces_of(text: str, chunks: int) -> list[tuple[int, str]]:
    """The text in pieces of a few words, each with the number of the chunk it is spoken in."""
    words = text.split()
    return [
        (
            start * chunks // len(words),
            (" " if start else "") + " ".join(words[start : start + WORDS_PER_PIECE]),
        )
        for start in range(0, len(words), WORDS_PER_PIECE)
    ]
