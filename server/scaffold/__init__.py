"""New repositories: `my-agent/` is the one that `voice-ai init` copies, as a whole and working."""
