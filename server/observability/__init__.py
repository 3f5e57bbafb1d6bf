"""Metrics, logs, event-loop lag and the garbage collector's policy."""
