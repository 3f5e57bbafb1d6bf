"""The `voice-ai` command, one file per sub-command."""
