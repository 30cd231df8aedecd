"""Every wrong value of every type of feature, in both forms, alone or in a batch: never a 500.

What is taken is answered, with a warning where training saw nothing like it; what is not is refused
with a pointer to it; and whoever asks at the same time gets the answers of quieter times.
"""

import csv
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import BATCH, ROOT, Server, run_python, serving
from tests.trained import copy_of
from tests.wire.problems import assert_problem
from tests.zoo import assert_alike

ROWS = 160
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "日本", "ünï"]
TEXT = "what/it says~0"  # a name that a pointer has to escape
COMMANDS = {
    "kinds": "--target kind --drop price --estimator LogisticRegression",
    "prices": "--target price --drop kind --estimator RidgeCV",
}


def table() -> Iterator[dict[str, object]]:
    """Give rows with each type of feature, with gaps and without."""
    rng = random.Random(0)

    def sometimes(value: object) -> object:
        return "" if rng.random() < 0.2 else value

    for number in range(ROWS):
        size = round(rng.uniform(0.5, 9.5), 3)
        tame = rng.random() < 0.4
        color = "mauve" if number % 53 == 0 else rng.choice(["red", "blue", "green"])
        yield {
            "size": size,
            "weight": sometimes(round(rng.uniform(-20, 2000), 2)),
            "legs": rng.choice([2, 4, 6, 8]),
            "year": sometimes(rng.randint(1990, 2024)),
            "tame": tame,
            "sold": sometimes(rng.random() < 0.5),
            "color": color,
            "shape": sometimes(rng.choice(["round", "long"])),
            TEXT: " ".join(rng.choices(WORDS, k=rng.randint(2, 9))) + f" {number}",
            "kind": "cat" if size + 3 * tame + rng.random() > 6 else "dog",
            "price": round(10 * size + rng.uniform(0, 5) + (7 if color == "red" else 0), 2),
        }


def train(name: str, home: Path) -> None:
    """Train one of the models on the table."""
    rows = list(table())
    with (home / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    command = ["--data", f"{name}.csv", *COMMANDS[name].split()]
    run_python(home, str(ROOT / "train.py"), *command, folder=home)


@dataclass(frozen=True, slots=True)
class Served:
    """A served model, its features, and some rows of its table with their answers."""

    server: Server
    features: list[dict[str, Any]]
    good: list[list[Any]]
    answers: list[dict[str, Any]]

    @property
    def example(self) -> list[Any]:
        """The example of each feature."""
        return [feature["example"] for feature in self.features]


@pytest.fixture(scope="module", params=COMMANDS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Train and serve a model of each kind."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    home = copy_of(partial(train, name), f"broken-{name}", folder)
    rows = list(table())
    with serving(home, folder / "output", SERVING_MODEL=name) as server:
        features = server.http.get("/model/info").json()["features"]
        good = [
            [None if row[feature["name"]] == "" else row[feature["name"]] for feature in features]
            for row in rows[:20]
            if row["color"] != "mauve"
        ]
        yield Served(server, features, good, [server.ask(row).json() for row in good])
        assert not [line for line in server.lines() if line["level"] in {"error", "critical"}]


def test_the_features_are_of_all_types_with_gaps_and_without(served: Served) -> None:
    assert {
        feature["name"]: (feature["type"], feature["nullable"]) for feature in served.features
    } == {
        "size": ("number", False),
        "weight": ("number", True),
        "legs": ("integer", False),
        "year": ("integer", True),
        "tame": ("boolean", False),
        "sold": ("boolean", True),
        "color": ("category", False),
        "shape": ("category", True),
        TEXT: ("text", False),
    }


# Values, as JSON text

STRINGS = [
    '""',
    '" "',
    '"red"',
    '"Red"',
    '"mauve"',
    '"a color of which nobody has heard"',
    '"5"',
    '"true"',
    '"null"',
    '"NaN"',
    '"😀"',
    r'"\ud83d\ude00"',
    r'"\u0000"',
    r'"a\u0000b"',
    '"\u2028\u202e\ufeff"',
    '"e\u0301"',
    r'"\"\\\/\b\f\n\r\t"',
    '"<script>alert(1)</script>"',
    '"\'; DROP TABLE pets; --"',
    '"{{7*7}} ${x} %s %n"',
    '"' + "x" * 1000 + '"',
    '"' + "x" * 1001 + '"',
    '"' + "long " * 20_000 + '"',
    '"' + "x" * 100_001 + '"',
]
NUMBERS = """
    0 -0 -0.0 1 4 4.0 4e0 400e-2 4.5 -7 1e-400 5e-324 4.0000000000000001
    9007199254740992 9007199254740993 -9007199254740993 9007199254740992.0 1e16
    9223372036854775808 -9223372036854775809 18446744073709551616
    123456789012345678901234567890 1e30 -1e30 1e307 1.7976931348623157e308 -1.7976931348623157e308
""".split()  # noqa: SIM905 (as a list it is a page)
NUMBERS.append("1" + "0" * 308)
OTHERS = ["null", "true", "false", "[]", "[1]", "[[[]]]", "{}", '{"a": 1}', '{"": null}']
NO_JSON = r"""
    NaN Infinity -Infinity nan None True undefined 1e400 -1e400 01 +1 .5 5. 0x10 1_000 1,5 'red'
    "red "\x41" "\ud800" "\udc00\ud800" "\u12" // [ {
""".split()  # noqa: SIM905
NO_JSON += ["", '"\n"', "1" + "0" * 400, '{"a": 1, "a": 2}']


def verdict(feature: Mapping[str, Any], value: Any) -> str:  # noqa: ANN401 (any JSON)
    """Tell what `GET /model/info` promises of a value: "fine", "unusual" or "wrong"."""
    trained, domain = feature["trained"], feature["domain"]
    if value is None:
        return "fine" if feature["nullable"] else "wrong"
    match feature["type"]:
        case "boolean":
            return "fine" if isinstance(value, bool) else "wrong"
        case "category" | "text":
            if not isinstance(value, str):
                return "wrong"
            if not domain["min_length"] <= len(value) <= domain["max_length"]:
                return "wrong"
            if feature["type"] == "category":
                return "fine" if value in trained["categories"] else "unusual"
            usual = trained["min_length"] <= len(value) <= trained["max_length"]
            return "fine" if usual else "unusual"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "wrong"
    if not domain["minimum"] <= value <= domain["maximum"]:
        return "wrong"
    if feature["type"] == "integer" and value != math.floor(value):
        return "wrong"
    return "fine" if trained["minimum"] <= value <= trained["maximum"] else "unusual"


def escaped(part: str | int) -> str:
    """Write a part of a pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


FORMS = list(itertools.product(["/predict", BATCH], ["by order", "by name"]))


def body_of(served: Served, path: str, form: str, at: int, raw: str) -> tuple[str, str]:
    """Write a request of the example with one value as it is given; give its pointer, too.

    In a batch it stands between two other rows.
    """
    values = [json.dumps(value) for value in served.example]
    values[at] = raw
    names = [feature["name"] for feature in served.features]
    part: str | int = at
    if form == "by order":
        item = f"[{', '.join(values)}]"
    else:
        members = (f"{json.dumps(n)}: {v}" for n, v in zip(names, values, strict=True))
        item, part = f"{{{', '.join(members)}}}", names[at]
    if path == "/predict":
        return f'{{"data": {item}}}', f"/data/{escaped(part)}"
    one, other = json.dumps(served.good[0]), json.dumps(served.good[1])
    return f'{{"data": [{one}, {item}, {other}]}}', f"/data/1/{escaped(part)}"


def together(
    served: Served, bodies: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, httpx.Response]]:
    """Send bodies to their paths, many at a time; good ones among them are answered as ever."""

    def check(number: int) -> None:
        at = number % len(served.good)
        answer = served.server.ask(served.good[at])
        assert answer.status_code == 200
        assert_same(answer.json(), served.answers[at])

    with ThreadPoolExecutor(16) as pool:
        answers = []
        checks = []
        for number, (path, body) in enumerate(bodies):
            answers.append(pool.submit(served.server.send, body, path))
            if number % 4 == 0:
                checks.append(pool.submit(check, number))
        for done in checks:
            done.result()
        for (_, body), answer in zip(bodies, answers, strict=True):
            yield body, answer.result()


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Compare what two answers say of a row, which are of different requests."""
    said = [
        {name: answer[name] for name in ("prediction", "probabilities") if name in answer}
        for answer in (one, other)
    ]
    assert_alike(*said)


def test_each_value_of_each_feature_is_answered_or_refused_as_the_model_tells(
    served: Served,
) -> None:
    values = STRINGS + NUMBERS + OTHERS
    count = len(served.features)
    cases = [
        (at, raw, *FORMS[(number + at) % len(FORMS)])  # so that each feature meets each form
        for at, (number, raw) in itertools.product(range(count), enumerate(values))
    ]
    made = [(path, *body_of(served, path, form, at, raw)) for at, raw, path, form in cases]
    answers = together(served, [(path, body) for path, body, _ in made])
    for (at, raw, path, _), (_, _, pointer), (_, answer) in zip(cases, made, answers, strict=True):
        feature, value = served.features[at], json.loads(raw)
        what = f"{feature['name']} = {raw[:40]}"
        expected = verdict(feature, value)
        if expected == "wrong":
            assert answer.status_code == 422, what
            assert answer.headers["content-type"] == "application/problem+json"
            (error,) = answer.json()["errors"]
            assert error["pointer"] == pointer, what
            continue
        assert answer.status_code == 200, (what, answer.text)
        warnings = [warning["pointer"] for warning in answer.json().get("warnings", [])]
        assert warnings == ([pointer] if expected == "unusual" else []), what
        predictions = answer.json().get("predictions", [answer.json()])
        assert len(predictions) == (3 if path == BATCH else 1)
        for prediction in predictions:
            assert_sensible(served, prediction)


def assert_sensible(served: Served, answer: Mapping[str, Any]) -> None:
    """Check that an answer is a class with its probabilities, or a number."""
    if "probabilities" in answer:
        assert answer["prediction"] in {"cat", "dog"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
    else:
        assert math.isfinite(answer["prediction"])


def test_what_is_no_json_is_refused_whatever_feature_it_stands_for(served: Served) -> None:
    count = len(served.features)
    cases = [
        (path, body_of(served, path, form, number % count, raw)[0])
        for number, raw in enumerate(NO_JSON)
        for path, form in FORMS
        # In a list that may be one value more, and that is another mistake.
        if not (form == "by order" and raw == "1,5")
    ]
    for body, answer in together(served, cases):
        assert answer.status_code == 400, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].endswith("/errors/malformed-body")


def test_the_ends_of_all_domains_at_once_are_answered(served: Served) -> None:
    rng = random.Random(1)
    ends = []
    for _ in range(60):
        row = served.example
        for at, feature in enumerate(served.features):
            domain = feature["domain"] or {}
            if "minimum" in domain:
                ends_of_it = [domain["minimum"], domain["maximum"], 0, 1, feature["example"]]
                row[at] = rng.choice(ends_of_it)
            elif "max_length" in domain:
                longest = min(domain["max_length"], 5000)
                row[at] = "a " * rng.choice([0, 1, longest // 2])
            elif feature["nullable"]:
                row[at] = rng.choice([None, True, False])
        ends.append(row)
    bodies = [("/predict", json.dumps({"data": row})) for row in ends]
    for body, answer in together(served, [*bodies, (BATCH, json.dumps({"data": ends}))]):
        assert answer.status_code == 200, (body[:300], answer.text)
        for prediction in answer.json().get("predictions", [answer.json()]):
            assert_sensible(served, prediction)


def test_far_rows_are_answered_in_a_batch_as_they_are_alone(served: Served) -> None:
    sizes = [10.0**exponent for exponent in range(0, 300, 20)]
    rows = [[sign * size, *served.example[1:]] for size in sizes for sign in (-1, 1)]
    rows = [row for row in rows if verdict(served.features[0], row[0]) != "wrong"]
    assert len(rows) > 10
    alone = [served.server.ask(row).raise_for_status().json() for row in rows]
    batch = served.server.ask(rows, BATCH).raise_for_status().json()["predictions"]
    for one, other in zip(alone, batch, strict=True):
        assert_same(other, one)


# Rows as a whole


def shapes(served: Served) -> list[tuple[Any, list[str]]]:
    """Give rows that are wrong as a whole, with the pointers to what is wrong."""
    row, count = served.example, len(served.features)
    names = [feature["name"] for feature in served.features]
    named = dict(zip(names, row, strict=True))
    pointers = [f"/{escaped(name)}" for name in names]
    return [
        (None, [""]),
        ([], [""]),
        ({}, pointers),
        (row[:-1], [""]),
        ([1] * 10_000, [""]),
        ([[value] for value in row], [f"/{at}" for at in range(count)]),
        (
            [None] * count,
            [f"/{at}" for at, feature in enumerate(served.features) if not feature["nullable"]],
        ),
        ({**named, "else": 1, "": 1}, ["/", "/else"]),
        ({name: {"value": value} for name, value in named.items()}, pointers),
    ]


def test_a_row_of_the_wrong_shape_is_refused_with_pointers(served: Served) -> None:
    for row, places in shapes(served):
        for path, data, start in (
            ("/predict", row, "/data"),
            (BATCH, [served.good[0], row, served.good[1]], "/data/1"),
        ):
            answer = served.server.ask(data, path)
            problem = assert_problem(served.server, answer, 422, "invalid-input")
            assert sorted(error["pointer"] for error in problem["errors"]) == sorted(
                f"{start}{place}" for place in places
            )


def test_wrong_values_are_told_but_never_repeated(served: Served) -> None:
    secret = "s3cr3t"  # noqa: S105 (it stands for an input value)
    row: list[object] = [secret] * len(served.features)
    row[-1] = [secret]
    answer = served.server.ask(row)
    problem = assert_problem(served.server, answer, 422, "invalid-input")
    assert secret not in answer.text
    assert len(problem["errors"]) == 7  # all but the two that take strings
    assert secret not in served.server.text()


def test_after_all_that_the_answers_are_those_of_before(served: Served) -> None:
    for row, before in zip(served.good, served.answers, strict=True):
        answer = served.server.ask(row).raise_for_status().json()
        assert_same(answer, before)
        assert "warnings" not in answer


def test_columns_of_another_order_are_found_by_name(served: Served) -> None:
    names = [feature["name"] for feature in served.features]
    for row, before in zip(served.good, served.answers, strict=True):
        named = dict(reversed(list(zip(names, row, strict=True))))
        assert_same(served.server.ask(named).raise_for_status().json(), before)


def test_the_table_itself_was_read_as_it_is(served: Served, tmp_path: Path) -> None:
    (text,) = (feature for feature in served.features if feature["name"] == TEXT)
    lengths = [len(str(row[TEXT])) for row in table()]
    assert text["trained"] == {"min_length": min(lengths), "max_length": max(lengths)}
    (color,) = (feature for feature in served.features if feature["name"] == "color")
    assert color["trained"]["rare_categories"] == 1
    assert "mauve" not in color["trained"]["categories"]
