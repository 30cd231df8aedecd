"""How rows are answered: knows no HTTP."""
