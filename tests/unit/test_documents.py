"""What the documents say is what the code says: settings, problems, metrics, log events."""

import ast
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from score import build_parser as build_score_parser
from serving.metrics import MODEL_LABELS
from serving.model.description import Description
from serving.problems import PROBLEM_TYPES, ProblemType
from serving.settings import Settings, variable_of
from train import build_parser

ROOT = Path(__file__).parents[2]
MOST_LINES = 240  # of the README: what a person reads in five minutes
READ_IN_A_SITTING = ("training", "estimators", "tables", "bring", "models", "bulk")
MOST_LINES_OF_A_PAGE = 260  # of each of those
PROBLEM = re.compile(
    r"^## `([\w-]+)`$.*?Status: (\d+)\. Title: (.+?)\.?$", re.MULTILINE | re.DOTALL
)
METRIC_TYPES = {"Constant", "Counter", "Gauge", "Histogram", "Summary"}
ALARMING = {"error", "critical", "end_process"}  # what logs an event that an operator acts on
OPTION = re.compile(r"--[a-z-]+")
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
SETTINGS = "variable | default | meaning"
ENDPOINTS = "endpoint | answer"


def read(name: str) -> str:
    """Read a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def table(name: str, header: str) -> list[list[str]]:
    """Read the cells of the table with this header, links without where they lead."""
    _, begin, rest = re.sub(r"\]\([^)]*\)", "]", read(name)).partition(f"| {header} |\n")
    assert begin, f"{name} has no table with the header {header}"
    rows = rest.partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def in_code(text: str) -> list[str]:
    """Give what stands in code style."""
    return re.findall(r"`([^`]+)`", text)


def calls() -> Iterator[tuple[str, list[ast.expr]]]:
    """Give the calls in the service whose first argument is a text: what is called, and with what.

    They are read from the syntax trees, so that it does not matter which room says it.
    """
    for file in (ROOT / "service.py", *(ROOT / "serving").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and is_text(node.args[0]):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
                yield name, node.args


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def text_of(node: ast.expr) -> str:
    value: str = ast.literal_eval(node)
    return value


def default_of(name: str) -> str:
    """Write the default of a setting as the table has it, in code style."""
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "`the CPU quota`"
    if isinstance(field.default, SecretStr):
        return f"`{field.default.get_secret_value()}`"
    value = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return "`none`" if value in {None, ""} else f"`{value}`"


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(read("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", READ_IN_A_SITTING)
def test_a_page_is_read_in_a_sitting(page: str) -> None:
    assert len(read(f"docs/{page}.md").splitlines()) <= MOST_LINES_OF_A_PAGE


@pytest.mark.parametrize(
    ("header", "document"), [(SETTINGS, "docs/settings.md"), (ENDPOINTS, "docs/api.md")]
)
def test_what_the_readme_shows_of_a_table_is_what_the_document_has(
    header: str, document: str
) -> None:
    whole = table(document, header)
    assert [row for row in table("README.md", header) if row not in whole] == []


@pytest.mark.parametrize(
    ("page", "parser"), [("training", build_parser()), ("bulk", build_score_parser())]
)
def test_the_options_that_are_listed_are_those_that_there_are(
    page: str, parser: ArgumentParser
) -> None:
    rows = table(f"docs/{page}.md", "option | default | meaning")
    listed = {option for options, _, _ in rows for option in OPTION.findall(options)}
    assert listed == set(OPTION.findall(parser.format_usage()))


def test_what_the_readme_says_to_train_py_is_taken_by_it() -> None:
    cells = [
        words for _, words in table("README.md", "you have | you say, after `python train.py`")
    ]
    said = [words for cell in cells for words in in_code(cell)]
    assert said
    for words in said:
        build_parser().parse_args(shlex.split(words))


def test_the_settings_that_are_listed_are_those_that_there_are() -> None:
    listed = [variable.strip("`") for variable, _, _ in table("docs/settings.md", SETTINGS)]
    assert sorted(listed) == sorted(map(variable_of, Settings.model_fields))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_default_and_the_meaning_of_a_setting_are_told(name: str) -> None:
    rows = {variable: rest for variable, *rest in table("docs/settings.md", SETTINGS)}
    default, meaning = rows[f"`{variable_of(name)}`"]
    assert default == default_of(name)
    assert meaning


def test_the_document_on_errors_has_exactly_the_problem_types_there_are() -> None:
    text = read("docs/errors.md")
    assert [slug for slug, _, _ in PROBLEM.findall(text)] == list(PROBLEM_TYPES)
    listed = [
        (int(status), slug)
        for status, slugs, _ in table("docs/errors.md", "status | type | when")
        for slug in in_code(slugs)
    ]
    assert listed == [(kind.status, kind.slug) for kind in PROBLEM_TYPES.values()]


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=lambda kind: kind.slug)
def test_the_document_on_errors_tells_status_and_title(kind: ProblemType) -> None:
    told = {
        slug: (int(status), title)
        for slug, status, title in PROBLEM.findall(read("docs/errors.md"))
    }
    assert told[kind.slug] == (kind.status, kind.title)


def labels_in(node: ast.expr) -> Iterator[str]:
    """Give the labels of a metric; those that BentoML's metrics share are told once."""
    match node:
        case ast.Tuple(elts=elements):
            for element in elements:
                yield from labels_in(element)
        case ast.Starred(value=named):
            yield from labels_in(named)
        case ast.Name(id="MODEL_LABELS"):
            yield from MODEL_LABELS
        case ast.Constant(value=str(label)):
            yield label


def test_the_metrics_and_labels_that_are_listed_are_those_that_there_are() -> None:
    declared = {}
    for name, arguments in calls():
        if name in METRIC_TYPES:
            declared[text_of(arguments[0])] = [
                label for argument in arguments[2:3] for label in labels_in(argument)
            ]
    listed = {
        metric.strip("`"): [label for label in labels.split(", ") if label]
        for metric, labels, _ in table("docs/monitoring.md", "metric | labels | counts")
    }
    assert listed == declared


def test_the_members_of_the_description_that_are_listed_are_those_that_there_are() -> None:
    rows = table("docs/models.md", "member | what it tells")
    listed = {member for names, _ in rows for member in in_code(names)}
    assert listed == Description.model_fields.keys()


def test_the_events_that_are_listed_are_logged_and_none_that_matters_is_left_out() -> None:
    logged: dict[str, set[str]] = {}
    for name, arguments in calls():
        if EVENT.fullmatch(event := text_of(arguments[0])):
            logged.setdefault(event, set()).add(name)
    rows = table("docs/monitoring.md", "event | level | what has happened")
    listed = {event for names, _, _ in rows for event in in_code(names)}
    assert listed - logged.keys() == set()
    assert {event for event, names in logged.items() if names & ALARMING} - listed == set()
