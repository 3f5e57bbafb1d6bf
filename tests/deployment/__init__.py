"""Image, compose files, monitoring: what is deployed, held against the code."""
