"""Recording of a call: both sides on one timeline, as mu-law."""
