"""Emulators in virtual time: nothing is late here but what a test makes late.

Tests marked `real_time` talk with them from threads, or are late by a clock of their own.
"""

from tests.virtual_time import loop_of_the_test as pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
