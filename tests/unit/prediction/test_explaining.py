"""Explanations: row by row and part by part, counted, refused in time, and never a wrong one."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from serving.explaining.attribution import Attribution, Part
from serving.explaining.explanation import Explanation, NotAdditiveError
from serving.model.features import Row
from serving.model.outputs import Array, Prediction
from serving.model.rows import Explain
from serving.prediction import explaining as room
from serving.prediction.explaining import NUMBERS_OF_AN_ENTRY, Attributed, Explaining
from serving.problems import BATCH_TOO_LARGE, OVERLOADED, Problem
from serving.telemetry import RequestRecord
from tests.unit.fakes import StillClock, recorded
from tests.unit.prediction.stories import story, turns

WRONG_NUMBER = 13.0
WRONG: Row = (WRONG_NUMBER,)  # whose explanation does not add up
FAILING_NUMBER = 17.0  # of a row with others of which a model fails


def predicted(row: Row) -> Prediction:
    """Give a row's number."""
    (value,) = row
    assert value is not None
    return Prediction(value)


class FakeExplanation:
    """Explains rows of one number by themselves, in some parts."""

    method = "trees"

    def __init__(self, parts: int = 2) -> None:
        """Take how many parts a row has."""
        self.done: list[tuple[Row, int, str]] = []
        self._parts = parts

    def parts(self, row: Row) -> list[Part]:
        """Give parts, each of which gives its number."""

        def part(number: int) -> Part:
            def run() -> Array:
                if row == (FAILING_NUMBER,) and number:
                    raise ValueError(f"can't compute with {row}")
                self.done.append((row, number, threading.current_thread().name))
                return np.array([number])

            return run

        return [part(number) for number in range(self._parts)]

    def attribution(self, row: Row, prediction: Prediction, results: Sequence[Any]) -> Attribution:
        """Give the row itself."""
        assert [int(result[0]) for result in results] == [*range(self._parts)]
        assert prediction == predicted(row)
        if row == WRONG:
            raise NotAdditiveError
        return Attribution(np.zeros(1), np.array([[row[0]]]))

    def told(self, attribution: Attribution, prediction: Prediction, *, of_all: bool) -> Any:  # noqa: ANN401 (any JSON)
        """Tell of what."""
        return {"all": of_all, "contributions": attribution.contributions.tolist()}


class Desk:
    """What explains, its clock, and a model that takes a while for each part."""

    def __init__(self, parts: int = 2, *, part_s: float = 0.0, max_rows: int = 5) -> None:
        """Put them together, within a story."""
        self.clock = StillClock()
        self.explanation = FakeExplanation(parts)
        self.told: list[tuple[str, float]] = []
        self.part_s = part_s
        self.gate = asyncio.Event()
        self.gate.set()
        self.explaining = Explaining(
            cast("Explanation", self.explanation),
            self._work,
            lambda *told: self.told.append(told),
            max_rows=max_rows,
            patience_s=10.0,
            clock=self.clock,
        )

    async def _work(self, part: Callable[[], Array]) -> Array:
        await self.gate.wait()
        await asyncio.sleep(0)
        self.clock.now_s += self.part_s
        return part()

    def ask(self, *values: float) -> "asyncio.Task[list[Attributed]]":
        """Ask about rows without waiting."""

        async def predict(rows: list[Row]) -> list[Prediction]:
            await asyncio.sleep(0)
            return list(map(predicted, rows))

        rows: list[Row] = [(value,) for value in values]
        return asyncio.create_task(self.explaining.explain(rows, predict))

    async def refused(self, *values: float) -> Problem:
        """Ask about what has to be refused."""
        with pytest.raises(Problem) as caught:
            await self.ask(*values)
        return caught.value


def contributions(explained: Sequence[Attributed]) -> list[float | None]:
    """Give what the one column of each row contributed, if that is known."""
    return [
        None if attribution is None else attribution.contributions.item()
        for _, attribution in explained
    ]


@story
async def test_rows_of_a_batch_are_explained_one_after_another_and_in_parts() -> None:
    desk = Desk(part_s=0.25)
    explained = await desk.ask(3.0, 4.0)
    assert [prediction.value for prediction, _ in explained] == [3.0, 4.0]
    assert contributions(explained) == [3.0, 4.0]
    assert [done[:2] for done in desk.explanation.done] == [
        ((3.0,), 0),
        ((3.0,), 1),
        ((4.0,), 0),
        ((4.0,), 1),
    ]
    assert desk.told == [("trees", 0.5)] * 2


@story
async def test_clients_take_turns() -> None:
    desk = Desk()
    await asyncio.gather(desk.ask(1.0, 1.0, 1.0), desk.ask(2.0))
    order = [row[0] for row, _, _ in desk.explanation.done]
    assert order[:4] == [1.0, 2.0, 1.0, 2.0]


@story
async def test_what_takes_no_time_lets_others_have_theirs_between_rows() -> None:
    desk = Desk(parts=0)
    asked = desk.ask(1.0, 2.0, 3.0)
    seen = 0
    while not asked.done():
        await asyncio.sleep(0)
        seen += 1
    assert contributions(await asked) == [1.0, 2.0, 3.0]
    assert seen >= 3


@story
async def test_an_explanation_that_does_not_add_up_or_fails_is_none_and_takes_no_prediction_along(
    monkeypatch: pytest.MonkeyPatch, record: RequestRecord
) -> None:
    log = recorded(monkeypatch, room)
    desk = Desk()
    explained = await desk.ask(1.0, WRONG_NUMBER, FAILING_NUMBER, 2.0)
    assert contributions(explained) == [1.0, None, None, 2.0]
    assert [each.prediction.value for each in explained] == [1.0, WRONG_NUMBER, FAILING_NUMBER, 2.0]
    (line,) = log.lines
    exception = line.pop("exception")
    assert line == {
        "level": "error",
        "event": "explanation.wrong",
        "request_id": record.id,
        "method": "trees",
        "rows": 2,
    }
    assert exception.endswith("ValueError")
    assert "17" not in exception
    assert len(desk.told) == 2


def test_it_is_told_of_what_was_predicted_or_of_all() -> None:
    desk = asyncio.run(_desk())
    explained = [
        Attributed(Prediction(1.0), Attribution(np.zeros(1), np.ones((1, 1)))),
        Attributed(Prediction(2.0), None),
    ]
    for explain in Explain:
        first, last = desk.explaining.told(explained, explain)
        assert first == (
            Prediction(1.0),
            {"all": explain is Explain.ALL, "contributions": [[1.0]]},
        )
        assert last == (Prediction(2.0), None)


async def _desk() -> Desk:
    return Desk()


@story
async def test_more_rows_than_may_be_are_refused_before_anything_is_asked() -> None:
    desk = Desk(max_rows=2)
    problem = await desk.refused(1.0, 2.0, 3.0)
    assert problem.kind is BATCH_TOO_LARGE
    assert problem.detail == "3 rows, but at most 2 are explained"
    assert await desk.ask() == []


@story
async def test_what_would_wait_in_vain_is_refused_by_what_rows_took_of_late() -> None:
    desk = Desk(part_s=0.5)
    await desk.ask(1.0)  # a second
    desk.gate.clear()
    jobs = [desk.ask(1.0, 2.0), desk.ask(3.0)]
    await turns()
    problem = await desk.refused(4.0, 5.0, 6.0)
    assert (problem.kind, problem.headers) == (OVERLOADED, {"Retry-After": "6"})
    assert problem.detail == "3 rows wait to be explained"
    jobs.append(desk.ask(4.0, 5.0))
    desk.gate.set()
    assert list(map(contributions, await asyncio.gather(*jobs))) == [[1, 2], [3], [4, 5]]
    assert contributions(await desk.ask(*range(5))) == [*range(5)]


@story
async def test_who_asks_about_a_row_waits_for_no_more_than_a_row_of_a_large_batch() -> None:
    desk = Desk(part_s=0.5)
    await desk.ask(1.0)
    desk.gate.clear()
    jobs = [desk.ask(*range(5)), desk.ask(1.0), desk.ask(2.0)]
    await turns()
    await desk.refused(1.0, 2.0)  # after two rows of the first, and one of each other
    desk.gate.set()
    await asyncio.gather(*jobs)


@story
async def test_rows_that_take_turns_are_taken_to_need_no_more_of_the_model_than_one_alone() -> None:
    desk = Desk(part_s=0.5)
    await asyncio.gather(*(desk.ask(1.0) for _ in range(4)))
    desk.gate.clear()
    jobs = [desk.ask(1.0) for _ in range(5)]
    await turns()
    assert not any(job.done() for job in jobs)  # a second each, and not four
    problem = await desk.refused(1.0)
    assert problem.headers == {"Retry-After": "6"}
    desk.gate.set()
    await asyncio.gather(*jobs)


@story
async def test_a_first_request_is_taken_however_slow_the_model_was() -> None:
    desk = Desk(part_s=100.0)
    for _ in range(2):
        assert contributions(await desk.ask(1.0, 2.0)) == [1.0, 2.0]


@story
async def test_who_leaves_is_explained_no_further_and_counts_no_more() -> None:
    desk = Desk(part_s=2.0)
    await desk.ask(1.0)
    desk.gate.clear()
    leaving = desk.ask(2.0, 3.0)
    await turns()
    await desk.refused(4.0)
    leaving.cancel()
    await turns()
    desk.gate.set()
    assert contributions(await desk.ask(5.0)) == [5.0]
    assert {row[0] for row, _, _ in desk.explanation.done} == {1.0, 5.0}


@story
async def test_a_warm_up_explains_and_tells_what_a_row_takes() -> None:
    desk = Desk()
    desk.explaining.warm_up((1.0,), Prediction(1.0))
    desk.explaining.warm_up(WRONG, Prediction(WRONG_NUMBER))  # which is told when it is asked for
    assert len(desk.explanation.done) == 4
    assert desk.told == []


@pytest.mark.parametrize(
    ("shape", "entries"),
    [((1, 1), 2), ((NUMBERS_OF_AN_ENTRY, 1), 2), ((NUMBERS_OF_AN_ENTRY + 1, 2), 4)],
)
def test_what_is_kept_counts_by_its_numbers(shape: tuple[int, int], entries: int) -> None:
    attribution = Attribution(np.zeros(shape[1]), np.zeros(shape))
    assert Attributed(Prediction(1.0), attribution).entries == entries
    assert Attributed(Prediction(1.0), None).entries == 1
