"""Other servers' clients, unchanged, against this service.

Each client has an environment of its own (``.venv/clients/NAME``, made by ``make`` of
``requirements/NAME.txt``) and a script of its name, which that environment's Python runs.
"""
