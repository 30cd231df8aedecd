"""Tests of the command that decides which versions are served."""
