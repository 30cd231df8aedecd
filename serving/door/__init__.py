"""HTTP: from a connection's request to its answer."""
