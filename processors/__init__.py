"""Pipecat processors, one per file: frames in, frames out."""
