"""What the documents say of settings and problems is what the code says."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from serving.problems import PROBLEM_TYPES, ProblemType
from serving.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
SETTING = re.compile(rf"^\| `({PREFIX}\w+)` \| (.*?) \| (.*) \|$", re.MULTILINE)
PROBLEM = re.compile(
    r"^## `([\w-]+)`$.*?Status: (\d+)\. Title: (.+?)\.?$", re.MULTILINE | re.DOTALL
)


def read(name: str) -> str:
    """Read a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def default_of(name: str) -> str:
    """Write the default of a setting as the table has it, in code style."""
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "`the CPU quota`"
    if isinstance(field.default, SecretStr):
        return f"`{field.default.get_secret_value()}`"
    return "`none`" if field.default == () else f"`{field.default}`"


def test_the_document_on_settings_lists_exactly_the_settings_there_are() -> None:
    listed = [variable for variable, _, _ in SETTING.findall(read("docs/settings.md"))]
    assert sorted(listed) == sorted(PREFIX + name.upper() for name in Settings.model_fields)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_document_on_settings_tells_the_default_and_the_meaning_of_a_setting(name: str) -> None:
    rows = {
        variable: (default, meaning)
        for variable, default, meaning in SETTING.findall(read("docs/settings.md"))
    }
    default, meaning = rows[PREFIX + name.upper()]
    assert default == default_of(name)
    assert meaning


def test_the_document_on_errors_has_exactly_the_problem_types_there_are() -> None:
    listed = [slug for slug, _, _ in PROBLEM.findall(read("docs/errors.md"))]
    assert listed == list(PROBLEM_TYPES)


@pytest.mark.parametrize("kind", PROBLEM_TYPES.values(), ids=lambda kind: kind.slug)
def test_the_document_on_errors_tells_status_and_title(kind: ProblemType) -> None:
    told = {
        slug: (int(status), title)
        for slug, status, title in PROBLEM.findall(read("docs/errors.md"))
    }
    assert told[kind.slug] == (kind.status, kind.title)


@pytest.mark.parametrize(
    "name",
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/errors.md"],
)
def test_links_between_documents_lead_somewhere_and_nothing_is_left_to_fill_in(name: str) -> None:
    assert not re.search(r"@@|TODO", read(name))
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", read(name))
    for link in links:
        assert ((ROOT / name).parent / link).exists(), f"{name} links to {link}"
