"""Gemini's side of a call: Live sessions, audio sockets, tools and greetings."""
