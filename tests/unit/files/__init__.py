"""Unit tests of the rooms that read and write tables in files."""
