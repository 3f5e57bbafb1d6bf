"""Replay of whole cassettes: the recorded vendors, our side as it is now, and what differs."""
