"""Settings from the environment and `.env`, and the routes of inbound numbers."""
