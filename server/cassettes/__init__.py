"""Cassettes: the whole wire of a call on disk: file format, writer thread, store, reading."""
