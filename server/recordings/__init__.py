"""Recordings on disk: store, writer thread, WAV files, retention."""
