"""What a model is: knows no HTTP, and of BentoML the store alone."""
