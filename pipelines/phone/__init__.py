"""The phone's side of a call: Twilio's messages, audio in and out, and what was heard."""
