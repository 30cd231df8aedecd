"""Rules of Prometheus, changed one by one: does a unit test of promtool's notice?"""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from tests.system.monitoring import Document

MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
Mutants = Iterator[tuple[str, Document]]  # what was changed, and the rule with that


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True)


def mutants(rule: Document, numbers: str) -> Mutants:
    """Give a rule with each number halved or doubled, or a label or condition left out."""
    expr: str = rule["expr"]
    for found in re.finditer(numbers, expr):
        number = float(found[0])
        for other in (2 * number, number / 2) if number else (1,):
            changed = f"{expr[: found.start()]}{other:g}{expr[found.end() :]}"
            yield f"{found[0]} is {other:g}", rule | {"expr": changed}
    for found in MATCHER.finditer(expr):
        changed = expr[: found.start()] + expr[found.end() :]
        changed = changed.replace("{,", "{").replace(",}", "}").replace(",,", ",")
        if found[1] != "__name__":  # there would be nothing left
            yield f"without {found[0]}", rule | {"expr": changed}
    for found in re.finditer(r"^ *(?:and|or|unless) .*?(?=,?$)", expr, re.MULTILINE):
        changed = expr[: found.start()] + expr[found.end() :]
        yield f"without {found[0].strip()}", rule | {"expr": changed}


def unnoticed(
    folder: Path, unit_tests: Document, rules: list[Document], place: int, changed: Mutants
) -> list[str]:
    """Tell which changes of the rule in that place no unit test notices."""
    (file,) = unit_tests["rule_files"]

    def passes(number: int, rule: Document) -> bool:
        own = folder / str(number)
        own.mkdir()
        all_rules = [*rules[:place], rule, *rules[place + 1 :]]
        (own / file).write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": all_rules}]}))
        (own / "test.yml").write_text(yaml.safe_dump(unit_tests))
        checked = promtool("check", "rules", own / file)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        return promtool("test", "rules", own / "test.yml").returncode == 0

    assert passes(0, rules[place])
    told = list(changed)
    with ThreadPoolExecutor(4) as threads:
        passed = threads.map(passes, range(1, len(told) + 1), [rule for _, rule in told])
        return [what for (what, _), well in zip(told, passed, strict=True) if well]
