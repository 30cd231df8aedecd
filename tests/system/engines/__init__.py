"""Engines that score tables on many machines, unchanged: they run the programs in `examples`.

Each has an environment of its own (``.venv/engines/NAME``, made by ``make`` of
``requirements/NAME.txt``), as its workers would have one.
"""
