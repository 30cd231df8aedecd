"""What the documents name is there: links and their anchors, files, tests, targets, variables.

So is what comments name of documents, in the code and in what surrounds it.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from serving.settings import PREFIX, Settings, variable_of

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(file.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "examples/*.md")
    for file in ROOT.glob(pattern)
)
WITH_COMMENTS = sorted(
    str(file.relative_to(ROOT))
    for pattern in (
        "[!.]*",
        "serving/**/*.py",
        "training/**/*.py",
        "benchmarks/*.py",
        "deploy/**/*",
    )
    for file in ROOT.glob(pattern)
    if file.suffix in {"", ".conf", ".json", ".py", ".template", ".toml", ".yaml", ".yml"}
    and file.is_file()
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
DOCUMENT = re.compile(r"\b(?:docs|benchmarks|examples)/[\w./-]+\.(?:md|png)\b")
TEST_FILE = re.compile(r"\btests/[\w/]+\.py\b")
PYTEST = re.compile(r"\bpytest ((?:tests/[\w/]+\.py ?)+)(?:-k (?:\"([^\"]+)\"|(\w+)))?")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:`|^)(?:[A-Z]+=\S+ )?make ((?:\.venv/)?[a-z][a-z-]*)", re.MULTILINE)
VARIABLE = re.compile(rf"\b{PREFIX}[A-Z_]+\b")


@cache
def read(name: str) -> str:
    """Read a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def anchors(name: str) -> set[str]:
    """Give the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", read(name), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(next(each for each in numbered(slug) if each not in found))
    return found


def numbered(slug: str) -> list[str]:
    return [slug, *(f"{slug}-{number}" for number in range(1, 10))]


def test_anchors_are_those_that_github_makes() -> None:
    assert "the-end-and-a-killed-worker" in anchors("docs/operations.md")
    assert "malformed-body" in anchors("docs/errors.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(name: str) -> None:
    assert not re.search(r"@@|TODO", read(name))
    for link, anchor in LINK.findall(read(name)):
        target = ((ROOT / name).parent / link).resolve() if link else ROOT / name
        assert target.exists(), f"{name} links to {link}"
        if anchor:
            assert anchor in anchors(str(target.relative_to(ROOT))), f"{name}: {link}#{anchor}"


@pytest.mark.parametrize("name", [*DOCUMENTS, *WITH_COMMENTS])
def test_a_document_or_a_test_that_is_named_is_there(name: str) -> None:
    named = {*DOCUMENT.findall(read(name)), *TEST_FILE.findall(read(name))}
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []


@cache
def names_of_tests(file: str) -> list[str]:
    """Give the names of a file's tests, without importing it."""
    nodes = [
        node
        for node in ast.walk(ast.parse(read(file)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [node.name for node in nodes if node.name.startswith("test_")]


def commands() -> list[tuple[str, str, str]]:
    """Give each command of pytest in a document: where it stands, the files, what is selected."""
    return [
        (name, files, quoted or word)
        for name in DOCUMENTS
        for files, quoted, word in PYTEST.findall(read(name))
    ]


@pytest.mark.parametrize(("name", "files", "selected"), commands())
def test_a_command_selects_tests_that_there_are(name: str, files: str, selected: str) -> None:
    assert [file for file in files.split() if not (ROOT / file).exists()] == [], name
    tests = [(file, test) for file in files.split() for test in names_of_tests(file)]
    words = selected.split(" or ") if selected else [""]
    for word in words:  # each of them, since what selects nothing is out of date
        assert any(word in test for _, test in tests), f"{name}: -k {word}"
    for file in files.split():
        chosen = [test for of, test in tests if of == file and any(word in test for word in words)]
        assert chosen, f"{name}: {file}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_target_of_make_that_is_named_is_there(name: str) -> None:
    makefile = read("Makefile").replace("$(VENV)", ".venv")
    targets = set(re.findall(r"^([\w./-]+):", makefile, re.MULTILINE))
    named = {target for code in CODE.findall(read(name)) for target in MAKE.findall(code)}
    assert named - targets == set()


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_a_variable_that_is_named_is_a_setting(name: str) -> None:
    settings = set(map(variable_of, Settings.model_fields))
    assert set(VARIABLE.findall(read(name))) - settings == set()
