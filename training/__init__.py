"""From a table, or from an estimator fitted elsewhere, to a described model; never shipped."""
