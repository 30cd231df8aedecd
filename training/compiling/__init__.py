"""From an estimator to a graph that is proven to answer alike."""
