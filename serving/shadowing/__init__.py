"""A shadow's own program: it answers what was answered, and tells how that differs."""
