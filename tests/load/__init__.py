"""Judges of the service under load: minutes of mixed traffic, and more than it can carry."""
