"""One running call: its pipeline from start to end, its hang-up, and what its tools may do."""
