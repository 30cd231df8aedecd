"""Tests of the dialects, in process."""
