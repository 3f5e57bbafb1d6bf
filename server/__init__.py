"""Everything that listens, reads the environment, or is typed by a person."""
