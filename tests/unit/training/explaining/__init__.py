"""Tests of the training rooms, in process."""
