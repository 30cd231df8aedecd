"""How a model can be explained: found out, proven on its table's rows, and kept beside it."""
