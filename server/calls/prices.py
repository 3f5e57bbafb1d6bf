"""List prices that a call's cost is estimated with, in US dollars, without taxes and discounts.

Sources: https://ai.google.dev/gemini-api/docs/pricing (Gemini 3.8 Live),
https://www.twilio.com/en-us/voice/pricing/us (calls within the US).
"""

AS_OF = "November 2026"

# A million tokens, by direction and modality. The context is billed again with each turn, and
# Gemini's counts hold it.
GEMINI_PER_MILLION_TOKENS = {
    ("input", "text"): 0.75,
    ("input", "audio"): 3.00,
    ("output", "text"): 4.50,
    ("output", "audio"): 12.00,
}
# A minute that has begun, from the answer on.
TWILIO_PER_MINUTE = {"inbound": 0.0085, "outbound": 0.014}
TWILIO_STREAM_PER_MINUTE = 0.0044
