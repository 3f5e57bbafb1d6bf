"""Gemini Live and Twilio on loopback: they speak the wire and import none of our adapters."""
