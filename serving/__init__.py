"""Serves scikit-learn models over HTTP, on BentoML."""

__version__ = "0.1.0"
