"""From a fitted estimator to its description: found out by asking."""
