"""From a table to a fitted estimator."""
