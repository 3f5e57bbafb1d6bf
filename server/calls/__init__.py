"""Calls of this instance: registry and leases; schemas of the calls API."""
