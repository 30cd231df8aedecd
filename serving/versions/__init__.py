"""The command that decides which versions are served: `python -m serving.versions`."""
