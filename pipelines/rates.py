"""Sample rates (Hz) and packet lengths of the phone line and of Gemini."""

# A telephone line: mu-law, one byte a sample.
PHONE_RATE = 8_000
# What Gemini Live takes and gives, PCM16 mono: https://ai.google.dev/gemini-api/docs/live
GEMINI_HEARS_AT = 16_000
GEMINI_SPEAKS_AT = 24_000

# Twilio sends one message for every 20 ms: 160 bytes of mu-law.
PACKET_MS = 20
PACKET_BYTES = PHONE_RATE * PACKET_MS // 1000

MULAW_SILENCE = 0xFF


def mulaw_ms(byte_count: int) -> float:
    """Duration in ms of so many bytes of mu-law at 8 kHz."""
    return byte_count * 1000 / PHONE_RATE
