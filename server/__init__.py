"""The server: HTTP, WebSockets, Twilio, settings, command line, and tools for tests."""
