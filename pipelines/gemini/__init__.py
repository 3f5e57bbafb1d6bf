"""The model's side of a call: Gemini Live sessions, their audio sockets, tools and greetings."""
