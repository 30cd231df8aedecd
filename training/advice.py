"""Options of ``train.py`` as a person can type them: a shell and the program take them as meant."""

import shlex

BRING_A_TABLE = "bring a table like the one that it was fitted on, with --reference"


def option(name: str, *values: str) -> str:
    """Write an option and its values; what begins with a hyphen would be taken for an option."""
    plain = [shlex.quote(value) for value in values if not value.startswith("-")]
    apart = [f"{name}={shlex.quote(value)}" for value in values if value.startswith("-")]
    return " ".join(([name, *plain] if plain else []) + apart)
