"""Tests of what is compared with training, in process."""
