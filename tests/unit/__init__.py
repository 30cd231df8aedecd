"""Each room by itself, in this process: one file for each."""
