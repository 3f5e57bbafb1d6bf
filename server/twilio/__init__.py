"""Twilio: REST client, signatures, stream tokens, TwiML, media WebSocket."""
