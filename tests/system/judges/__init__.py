"""Other libraries that explain models, unchanged: what they find is compared with ours.

Each has an environment of its own (``.venv/judges/NAME``, made by ``make`` of
``requirements/NAME.txt``); a script explains with that environment's Python.
"""
