"""How the benchmark judges what it has measured."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

NAMES = ("load", "models", "peers", "report", "run", "servers", "targets")
LOGISTIC, BOOSTING = "logistic", "boosting"
Plan: TypeAlias = Any
Results: TypeAlias = Any


@pytest.fixture
def bench() -> SimpleNamespace:
    """Give the benchmark's modules."""
    return SimpleNamespace(**{name: import_module(f"benchmarks.{name}") for name in NAMES})


@pytest.fixture
def results(bench: SimpleNamespace) -> Results:
    return bench.targets.Results()


def add(
    bench: SimpleNamespace, results: Results, server: str, *rps: float, failures: int = 0
) -> None:
    for value in rps:
        sample = bench.load.Sample(value, 1.0, 2.0, 3.0, 100, failures)
        results.add(LOGISTIC, server, bench.targets.SOME, sample)


@pytest.fixture
def plan(bench: SimpleNamespace) -> SimpleNamespace:
    servers = [bench.peers.SERVERS[name] for name in ("ours", "fastapi")]
    return SimpleNamespace(models=[LOGISTIC], servers=servers, loads=[bench.targets.SOME])


def test_a_ratio_is_the_median_of_the_ratios_of_each_round(
    bench: SimpleNamespace, results: Results
) -> None:
    add(bench, results, "ours", 100, 900, 60)
    add(bench, results, "fastapi", 50, 100, 20)
    target = bench.targets.faster(bench.targets.SOME, "fastapi", 4, guard=2)
    assert target.measured(results, LOGISTIC) == 3
    assert not target.holds(3, target.bound)
    assert target.holds(3, target.guard)


def test_of_several_peers_the_best_counts_and_one_left_out_does_not(
    bench: SimpleNamespace, results: Results
) -> None:
    point = bench.targets.Point
    some = bench.targets.SOME
    bases = tuple(point(name, some, "rps") for name in ("fastapi", "litserve", "mlflow"))
    target = bench.targets.Target("any", point("ours", some, "rps"), bases, 1)
    assert target.measured(results, LOGISTIC) is None
    add(bench, results, "ours", 100)
    assert target.measured(results, LOGISTIC) is None
    add(bench, results, "fastapi", 50)
    add(bench, results, "litserve", 20)
    assert target.measured(results, LOGISTIC) == 5


def test_a_model_is_compared_with_another_of_the_same_round(
    bench: SimpleNamespace, results: Results
) -> None:
    target, one = bench.targets.as_quick_as(LOGISTIC, 1.2), bench.targets.ONE
    for model, latencies in ((BOOSTING, (0.2, 0.9, 0.1)), (LOGISTIC, (0.2, 0.3, 0.1))):
        assert target.measured(results, BOOSTING) is None  # where the other is left out, too
        for latency in latencies:
            sample = bench.load.Sample(1000, latency, 2.0, 3.0, 100, 0)
            results.add(model, "ours", one, sample)
    assert target.measured(results, BOOSTING) == 1


def test_what_the_guard_measures_once_more_has_the_model_that_others_are_compared_with(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def measure(plan: Plan, store: Path) -> Results:
        plans.append(plan)
        results = bench.targets.Results()
        for model, latency in ((LOGISTIC, 0.1), (BOOSTING, 0.9)):
            if model in plan.models:
                sample = bench.load.Sample(1000, latency, 2.0, 3.0, 100, 0)
                results.add(model, "ours", bench.targets.ONE, sample)
        return results

    monkeypatch.setattr(bench.run, "measure", measure)
    plan = bench.report.Plan([LOGISTIC, "forest", BOOSTING], [], [bench.targets.ONE], 1, 1, [0, 1])
    with pytest.raises(SystemExit, match="True"):
        bench.run.guard(plan, Path())
    assert plans[1].models == [LOGISTIC, BOOSTING]


def test_the_guard_measures_what_features_cost_with_one_model_alone(bench: SimpleNamespace) -> None:
    ours, plain = (bench.peers.SERVERS[name] for name in ("ours", "plain"))
    for is_guard in (True, False):
        plan = bench.report.Plan([LOGISTIC, BOOSTING], [ours, plain], [], 1, 1, [0, 1], is_guard)
        assert plan.asks(ours, BOOSTING)
        assert plan.asks(plain, LOGISTIC)
        assert plan.asks(plain, BOOSTING) is not is_guard


def test_what_can_not_be_divided_is_missed(bench: SimpleNamespace, results: Results) -> None:
    add(bench, results, "ours", 100)
    add(bench, results, "fastapi", 0)
    target = bench.targets.faster(bench.targets.SOME, "fastapi", 4)
    assert not target.holds(target.measured(results, LOGISTIC), target.bound)


def test_the_guard_tells_bounds_and_failures(
    bench: SimpleNamespace, plan: SimpleNamespace, results: Results
) -> None:
    add(bench, results, "fastapi", 100, 100, failures=7)
    add(bench, results, "ours", 250, 250)
    assert bench.run.broken(plan, results) == {}
    add(bench, results, "ours", 110, 110, 110, failures=1)
    add(bench, results, "fastapi", 100, 100, 100)
    missed = bench.run.broken(plan, results)
    assert sorted(missed.values()) == ["1.10, not at least 2", "3"]


def test_the_tables_have_targets_medians_and_failures(
    bench: SimpleNamespace, plan: SimpleNamespace, results: Results
) -> None:
    add(bench, results, "ours", 500, 500, 400)
    add(bench, results, "fastapi", 100, 110, 90, failures=2)
    report = bench.report
    targets = list(report.target_rows(plan, results))
    assert f"{LOGISTIC} | 16 clients: p99, to its own median | at most 3 | 3.00 | held" in targets
    assert any(row.endswith("at least 4 | 4.55 | held") for row in targets)
    assert list(report.load_rows(plan, results, LOGISTIC)) == [
        "this service | 500 (1, 2, 3)",
        "FastAPI by hand | 100 (1, 2, 3), 6 failed",
    ]


def test_the_readme_shows_this_service_and_its_peers_alone(
    bench: SimpleNamespace, results: Results
) -> None:
    names = ("ours", "plain", "cached", "ours-v2", "ours-invocations", "fastapi")
    servers = [bench.peers.SERVERS[name] for name in names]
    plan = SimpleNamespace(models=[LOGISTIC], servers=servers)
    for server in servers:
        add(bench, results, server.name, 500)
    assert bench.report.comparison(plan, results).splitlines() == [
        "| server | LogisticRegression: ms for 1 client | answers/s for 16 | their p99 in ms |",
        "|---|---:|---:|---:|",
        "| this service |  | 500 | 3 |",
        "| FastAPI by hand |  | 500 | 3 |",
    ]


@pytest.mark.parametrize(
    ("name", "peer"), [("ours-v2", "mlserver"), ("ours-invocations", "mlflow")]
)
def test_in_a_peers_protocol_this_service_is_sent_its_bytes_and_judged_against_it_alone(
    bench: SimpleNamespace, results: Results, name: str, peer: str
) -> None:
    ours, theirs = bench.peers.SERVERS[name], bench.peers.SERVERS[peer]
    assert ours.body == theirs.body
    assert (ours.headers, ours.variables) == (
        bench.peers.PLAIN.headers,
        bench.peers.PLAIN.variables,
    )
    plan = SimpleNamespace(models=[LOGISTIC], servers=[ours, theirs], loads=[bench.targets.SOME])
    add(bench, results, name, 600, 490)
    add(bench, results, peer, 100, 100)
    assert list(bench.report.target_rows(plan, results)) == [
        f"{LOGISTIC} | 16 clients: requests/s of {ours.title}, to those of {theirs.title}"
        " | at least 5 | 5.45 | held"
    ]


def test_the_answers_of_all_protocols_read_alike(bench: SimpleNamespace) -> None:
    probabilities = {"setosa": 0.25, "versicolor": 0.5, "virginica": 0.25}
    numbers = list(probabilities.values())
    own = {"prediction": "versicolor", "probabilities": probabilities}
    outputs = [
        {"name": "predict", "data": ["versicolor"]},
        {"name": "predict_proba", "data": numbers},
    ]
    answers = {
        "ours": own,
        "mlserver": {"outputs": [{"name": "predict", "data": numbers}]},  # of a booster
        "ours-v2": {"model_name": "iris", "outputs": outputs},
        "ours-invocations": {"predictions": [numbers]},
        "bentoml": [own],
    }
    for name, document in answers.items():
        assert bench.peers.SERVERS[name].read(document) == ("versicolor", probabilities), name


def test_a_report_is_put_between_the_markers_of_a_file(
    bench: SimpleNamespace, tmp_path: Path
) -> None:
    file = tmp_path / "README.md"
    file.write_text("above\n\n<!-- bench -->\nold\n<!-- /bench -->\n\nbelow\n")
    for text in ("first", "second"):
        bench.report.insert(text, file)
    wanted = "above\n\n<!-- bench -->\nsecond\n<!-- /bench -->\n\nbelow\n"
    assert file.read_text() == wanted
    file.write_text("nothing")
    with pytest.raises(SystemExit, match="has no <!-- bench -->"):
        bench.report.insert("third", file)


@pytest.mark.parametrize("wrong", [("b", 0.25), ("a", 0.25 + 1e-8)])
def test_an_answer_that_is_not_the_estimators_ends_the_run(
    bench: SimpleNamespace, wrong: tuple[str, float]
) -> None:
    ours, right = bench.peers.OURS, ("a", {"a": 0.25})
    compare = bench.servers.compare
    compare(ours, [[1.0]], [("a", {"a": 0.25 + 1e-12})], [right])
    label, probability = wrong
    with pytest.raises(SystemExit, match="this service"):
        compare(ours, [[1.0]], [(label, {"a": probability})], [right])
