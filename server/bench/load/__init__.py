"""Many calls at once: both vendors in one lean process, and whoever answers the calls beside it."""
