"""Settings from the environment and `.env`, and the numbers that inbound calls come to."""
