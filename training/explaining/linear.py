"""What is kept of a linear model: what each column adds, as a line or a table."""
