"""Measures from outside, between both emulated vendors: this system, and a plain Pipecat bot."""
