"""Pipelines of calls: definitions to edit, and the parts that carry audio."""
