"""Phone side of a call: Twilio's messages, audio in and out, playback."""
