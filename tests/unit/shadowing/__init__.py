"""Tests of a shadow's own program, in process."""
