"""A phone agent: its calls and its tools."""
