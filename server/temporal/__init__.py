"""Temporal: the client, the encryption of payloads, workers, search attributes, the daily sweep."""
