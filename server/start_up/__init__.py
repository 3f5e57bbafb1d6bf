"""How the parts of the server's resources are opened from its settings."""
