"""Metrics, logs, event-loop lag and garbage-collector policy."""
