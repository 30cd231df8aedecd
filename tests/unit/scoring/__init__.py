"""A table is scored, as far as that is seen without a server."""
