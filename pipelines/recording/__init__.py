"""The recording of a call: both sides laid out in time, as mu-law."""
