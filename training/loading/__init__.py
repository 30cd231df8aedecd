"""From what a person brings to a fitted estimator."""
