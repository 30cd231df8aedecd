"""Trees of an estimator, of whichever library, and what is made of several."""
