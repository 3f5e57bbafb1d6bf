"""Recordings on disk: written, found, served and erased."""
