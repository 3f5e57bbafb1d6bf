"""Tests of the tools; the calls are tested by the scenarios beside this folder."""
