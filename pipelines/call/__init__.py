"""A running call: starting its pipeline, prewarming, hang-up, stall detection, tool context."""
