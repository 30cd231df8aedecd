"""Other programs that write models, unchanged: what they wrote is then served by this one.

Each has an environment of its own (``.venv/writers/NAME``, made by ``make`` of
``requirements/NAME.txt``); a script writes with that environment's Python.
"""
