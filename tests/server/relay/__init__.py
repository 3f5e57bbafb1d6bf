"""Tests of what instances pass on to each other."""
