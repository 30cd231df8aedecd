"""Tables in files: read in parts, and what a model says of them written in parts."""
