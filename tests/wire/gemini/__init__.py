"""Messages of the Gemini Live API, both ways, as ai.google.dev/api/live documents them."""
