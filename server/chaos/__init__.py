"""`voice-ai bench chaos`: a fault of Gemini's a call, ours beside the plain bot."""
