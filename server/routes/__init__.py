"""HTTP and WebSocket routes: the calls API, Twilio's webhooks and media streams, health."""
