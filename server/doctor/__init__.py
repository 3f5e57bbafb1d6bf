"""Checks of an installation: one file for each thing that is configured; `voice-ai doctor`."""
