"""Bodies to rows, and predictions to bodies."""
