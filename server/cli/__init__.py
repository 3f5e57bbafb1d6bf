"""Command line `voice-ai`, one file per sub-command."""
