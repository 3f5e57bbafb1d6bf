"""The calls of this instance: registry and leases, and the schemas of the calls API."""
