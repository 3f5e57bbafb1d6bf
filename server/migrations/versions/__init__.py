"""Revisions of the schema, one per file, in the order of their numbers."""
