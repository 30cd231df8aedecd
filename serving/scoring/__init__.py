"""A table is scored: its parts by workers, what they add up to, and what is told of it."""
