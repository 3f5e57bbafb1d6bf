"""The shipped scenarios, as tests."""
