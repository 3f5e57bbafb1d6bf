"""Twilio: REST client, signatures, stream tokens, TwiML, and the media WebSocket."""
