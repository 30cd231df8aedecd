"""What is kept of trees: the conditions of each leaf on columns, and which a background fulfils."""
