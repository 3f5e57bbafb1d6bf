"""HTTP and WebSocket routes: calls API, Twilio's webhooks and media streams, health."""
