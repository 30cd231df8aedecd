"""A model is asked about hybrids of rows; what comes of that is what brute force finds, or near."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from serving.explaining.attribution import Ask, Attribution, adds_up
from serving.explaining.coalitions import Enumeration, Sampled
from serving.explaining.kept import Kept, read
from serving.model.columns import Column
from serving.model.description import Compiled, Description
from serving.model.features import Row
from serving.model.outputs import Array
from tests.shapley import shapley
from tests.unit.samples import boolean, category, integer, number, regression, text

FEATURES = (
    number("length", nullable=True),
    integer("count"),
    boolean("flag"),
    category("colour", nullable=True),
    text("note"),
)
BACKGROUND: list[Row] = [
    (1.5, 2, True, "red", "a"),
    (None, 0, False, "blue", "bc"),
    (-3.0, 7, False, None, ""),
    (2.5, 2, True, "red", "a"),
]
ROWS: list[Row] = [(4.0, 5, True, "green", "abc"), (None, -1, False, None, ""), BACKGROUND[0]]
MIXED = regression("price", "weight", features=FEATURES)
NUMBERS = regression("price", features=tuple(number(f"c{at}") for at in range(6)))
LAST_BITS = 1e-15


def outputs(rows: Sequence[Row]) -> Array:
    """Give two numbers of a row that are no sums over columns."""
    found = []
    for length, count, flag, colour, note in rows:
        size = 10.0 if length is None else float(length)
        shade = {"red": 1.0, "blue": -2.0, "None": 0.5}.get(str(colour), 3.0)
        words = len(str(note))
        found.append([size * shade + float(count or 0) * words, shade * words - size * bool(flag)])
    return np.array(found)


def products(rows: Sequence[Row]) -> Array:
    """Give a number of which the second column is no part, and the first two others are alike."""
    c0, _, c2, c3, c4, c5 = np.array(rows, dtype=float).T
    return np.asarray(c0 * c2 + np.abs(c3 - c4) * c5 + c0 + c2)[:, np.newaxis]


def asking(f: Callable[[Sequence[Row]], Array], noise: float = 0.0) -> Ask:
    """Ask by columns, with last bits that depend on a row's place among others."""

    def ask(columns: Sequence[Column]) -> Array:
        found = f(list(zip(*(column.objects() for column in columns), strict=True)))
        return np.asarray(found * (1 + noise * np.sin(np.arange(len(found)))[:, np.newaxis]))

    return ask


def kept(f: Callable[[Sequence[Row]], Array], rows: Sequence[Row], at_once: int = 7) -> Kept:
    """Give what is kept of a background, as it is read."""
    told = {"rows": rows, "rows_at_once": at_once}
    return Kept(orjson.loads(orjson.dumps(told)), {"numbers": f(rows)})


def along(one: Kept, pairs: int, seed: int = 0) -> Kept:
    """Keep permutations of columns, too: so many for each row of the background."""
    rows = one.told["rows"]
    ranks = np.tile(np.arange(len(rows[0]), dtype=np.uint16), (pairs * len(rows), 1))
    ranks = np.random.default_rng(seed).permuted(ranks, axis=1)
    return Kept(one.told, {**one.arrays, "ranks": ranks})


def explained(way: Enumeration | Sampled, row: Row, numbers: Array) -> Attribution:
    return way.joined(row, numbers, [part() for part in way.parts(row)])


def number_rows(count: int, seed: int) -> list[Row]:
    return [tuple(row) for row in np.random.default_rng(seed).normal(size=(count, 6)).tolist()]


@pytest.mark.parametrize("at_once", [1, 3, 7, 1000])
def test_all_coalitions_give_what_brute_force_gives(at_once: int) -> None:
    way = Enumeration(kept(outputs, BACKGROUND, at_once), MIXED, asking(outputs))
    for row in ROWS:
        base, contributions = shapley(outputs, row, BACKGROUND)
        found = explained(way, row, outputs([row])[0])
        np.testing.assert_allclose(found.base, base, atol=1e-12)
        np.testing.assert_allclose(found.contributions, contributions, atol=1e-12)
        assert found.errors is None


def test_a_part_asks_about_no_more_rows_than_take_little_time() -> None:
    counts = []

    def ask(columns: Sequence[Column]) -> Array:
        counts.append(len(columns[0]))
        return asking(outputs)(columns)

    explained(Enumeration(kept(outputs, BACKGROUND, 50), MIXED, ask), ROWS[0], np.zeros(2))
    assert counts == [50, 50, 20]  # of 2^5 - 2 coalitions and four rows


def test_the_one_column_of_a_model_has_all_of_the_difference_and_nothing_is_asked() -> None:
    def square(rows: Sequence[Row]) -> Array:
        return np.array(rows, dtype=float) ** 2

    one = regression("price", features=(number("x"),))
    way = Enumeration(kept(square, [(1.0,), (3.0,)]), one, asking(square))
    assert len(way.parts((4.0,))) == 0
    assert explained(way, (4.0,), np.array([16.0])).contributions.tolist() == [[11.0]]


@pytest.mark.parametrize("kind", [Enumeration, Sampled])
def test_an_ignored_column_gets_nothing_whatever_last_bits_do(kind: type[Enumeration]) -> None:
    told = along(kept(products, number_rows(10, 1)), 2)
    way = kind(told, NUMBERS, asking(products, LAST_BITS))
    for row in number_rows(5, 2):
        found = explained(way, row, products([row])[0])
        assert found.contributions[1] == 0
        assert (found.contributions[[0, 2, 3, 4, 5]] != 0).all()
        assert adds_up(found, "value", products([row])[0])
        if found.errors is not None:
            assert found.errors[1] == 0
            assert (found.errors[[0, 2, 3, 4, 5]] > 0).all()


def test_columns_that_count_alike_get_the_same() -> None:
    background = [(a, b, a, c, d, e) for a, b, _, c, d, e in number_rows(10, 1)]
    way = Enumeration(kept(products, background), NUMBERS, asking(products))
    (a, b, _, c, d, e) = number_rows(1, 3)[0]
    row = (a, b, a, c, d, e)
    one, _, other, *_ = explained(way, row, products([row])[0]).contributions
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_what_the_estimator_answers_beside_a_graph_is_explained_to_the_last_digit() -> None:
    proof = Compiled(
        rows=9,
        tolerance=1e-6,
        largest_difference=1e-7,
        exact=False,
        onnxruntime="1",
        sha256="",
    )
    described = NUMBERS.model_copy(update={"compiled": proof})
    way = Enumeration(kept(products, number_rows(10, 1)), described, asking(products, 1e-8))
    (row,) = number_rows(1, 2)
    numbers = products([row])[0] * (1 + 1e-7)
    found = explained(way, row, numbers)
    assert found.contributions[1] == 0
    np.testing.assert_allclose(found.totals, numbers, rtol=1e-14)


@pytest.mark.parametrize("kind", [Enumeration, Sampled])
def test_what_the_model_would_not_have_answered_is_no_rounding(kind: type[Enumeration]) -> None:
    constant: Any = lambda rows: np.ones((len(rows), 1))  # noqa: E731 (a model)
    way = kind(along(kept(constant, number_rows(4, 1)), 2), NUMBERS, asking(constant))
    (row,) = number_rows(1, 2)
    assert not explained(way, row, np.ones(1)).contributions.any()
    other = explained(way, row, np.array([1 + 1e-6]))
    assert adds_up(other, "value", np.array([1 + 1e-6]))  # by all columns alike, as the last does
    np.testing.assert_allclose(other.contributions.sum(axis=0), 1e-6)


def sampled(described: Description, pairs: int, seed: int = 0) -> Sampled:
    return Sampled(
        along(kept(products, number_rows(20, 1)), pairs, seed), described, asking(products)
    )


def test_permutations_add_up_and_tell_the_same_each_time() -> None:
    for row in number_rows(5, 2):
        numbers = products([row])[0]
        first, second = (explained(sampled(NUMBERS, 3), row, numbers) for _ in range(2))
        np.testing.assert_allclose(first.totals, numbers, rtol=1e-12)
        assert first.contributions.tolist() == second.contributions.tolist()
        assert first.errors is not None
        assert second.errors is not None
        assert first.errors.tolist() == second.errors.tolist()


def test_permutations_tell_honestly_how_sure_they_are() -> None:
    background = number_rows(20, 1)
    far: list[float] = []
    for seed, row in enumerate(number_rows(40, 2)):
        _, wanted = shapley(products, row, background)
        found = explained(sampled(NUMBERS, 4, seed), row, products([row])[0])
        assert found.errors is not None
        # A permutation and its reverse tell all of what two columns at a time add.
        np.testing.assert_allclose(found.contributions[:3], wanted[:3], atol=1e-12)
        seen = found.errors[:, 0] > 1e-12
        far += (np.abs(found.contributions - wanted)[seen, 0] / found.errors[seen, 0]).tolist()
    assert len(far) == 40 * 3
    assert np.mean(np.array(far) < 3) > 0.95
    assert 0.7 < np.sqrt(np.mean(np.square(far))) < 1.3  # nor do they say less than they know


def test_more_permutations_are_surer() -> None:
    (row,) = number_rows(1, 2)
    few, many = (explained(sampled(NUMBERS, pairs), row, products([row])[0]) for pairs in (2, 32))
    assert few.errors is not None
    assert many.errors is not None
    assert many.errors.sum() < few.errors.sum() / 2


def test_what_is_kept_is_read_as_it_was(tmp_path: Path) -> None:
    one = along(kept(outputs, BACKGROUND), 2)
    file = tmp_path / "explanation.npz"
    file.write_bytes(one.packed())
    way = Sampled(read(file), MIXED, asking(outputs))
    again = Sampled(one, MIXED, asking(outputs))
    numbers = outputs(ROWS[:1])[0]
    assert (
        explained(way, ROWS[0], numbers).contributions.tolist()
        == explained(again, ROWS[0], numbers).contributions.tolist()
    )
