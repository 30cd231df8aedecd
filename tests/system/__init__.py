"""Tests that need a system package."""
