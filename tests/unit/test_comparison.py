"""What a comparison of two versions comes to."""

import math

import pytest

from lockgate.client.comparison import MAX_METRICS, Bound, Comparison, Kind, Measurement, Setting, compare

SETTING = Setting("alias:champion", "holdout.csv (90 rows, digest abc123)")
GOOD = Measurement(2, {"accuracy": 0.9, "error": 0.5})
NEVER_LOADED = "It could not be loaded: ModuleNotFoundError: No module named 'xgboost'."


def compared(
    accuracy: float, *bounds: tuple[Kind, str, float], incumbent: Measurement | None = GOOD, error: float = 0.5
) -> Comparison:
    candidate = Measurement(3, {"accuracy": accuracy, "error": error})
    return compare(candidate, incumbent, [Bound(*bound) for bound in bounds], SETTING)


@pytest.mark.parametrize(
    ("accuracy", "error", "bound", "outcome"),
    [
        (0.90, 0.5, (Kind.MIN, "accuracy", 0.9), "met"),
        (0.89, 0.5, (Kind.MIN, "accuracy", 0.9), "missed"),
        (0.10, 0.5, (Kind.MAX, "error", 0.5), "met"),
        (0.99, 0.6, (Kind.MAX, "error", 0.5), "missed"),
        (0.895, 0.5, (Kind.MAX_DROP, "accuracy", 0.005), "met"),  # 0.9 - 0.895 is 0.0050000000000000044
        (0.894, 0.5, (Kind.MAX_DROP, "accuracy", 0.005), "missed"),
        (0.99, 0.5, (Kind.MAX_DROP, "accuracy", 0), "met"),
        (0.91, 0.5, (Kind.MAX_DROP, "accuracy", -0.02), "missed"),  # must be better by 0.02
        (0.92, 0.5, (Kind.MAX_DROP, "accuracy", -0.02), "met"),
        (0.10, 0.6, (Kind.MAX_RISE, "error", 0.1), "met"),
        (0.99, 0.7, (Kind.MAX_RISE, "error", 0.1), "missed"),
        (0.99, 0.1, (Kind.MAX_RISE, "error", 0), "met"),
        (math.nan, 0.5, (Kind.MIN, "accuracy", 0), "missed"),
        (math.nan, 0.5, (Kind.MAX_DROP, "accuracy", 1), "missed"),
        (0.99, -math.inf, (Kind.MAX, "error", 1), "missed"),
        (0.99, 0.5, (Kind.MIN, "roc_auc", 0.1), "missed"),
    ],
)
def test_a_bound(accuracy: float, error: float, bound: tuple[Kind, str, float], outcome: str) -> None:
    found = compared(accuracy, bound, error=error)
    assert [judged.outcome for judged in found.judgements] == [outcome]
    assert found.status == ("success" if outcome == "met" else "failure")


def test_one_missed_bound_is_enough() -> None:
    found = compared(0.8, (Kind.MIN, "accuracy", 0.7), (Kind.MAX_DROP, "accuracy", 0.05))
    assert found.status == "failure"
    assert found.summary == (
        "Version 3 was compared with version 2 (alias:champion) on holdout.csv (90 rows, digest abc123). "
        "accuracy is 0.8, as demanded at least 0.7. "
        "accuracy went from 0.9 to 0.8: a drop of 0.1, more than the 0.05 allowed."
    )


def test_a_metric_that_is_not_there_fails_and_says_what_there_is() -> None:
    found = compared(0.9, (Kind.MIN, "roc_auc", 0.5))
    assert "Version 3 has no metric 'roc_auc'; there are: accuracy, error." in found.summary


def test_without_bounds_it_succeeds_and_says_that_nothing_was_demanded() -> None:
    found = compared(0.1)
    assert (found.status, found.judgements) == ("success", [])
    assert found.summary.endswith("Nothing was demanded of the metrics.")


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ([], "success"),
        ([(Kind.MAX_DROP, "accuracy", 0.0)], "success"),
        ([(Kind.MAX_DROP, "accuracy", 0.0), (Kind.MIN, "accuracy", 0.9)], "failure"),
        ([(Kind.MAX_DROP, "roc_auc", 0.0)], "failure"),
    ],
)
def test_a_first_promotion_is_held_to_absolute_bounds_alone(bounds: list, status: str) -> None:
    found = compared(0.8, *bounds, incumbent=None)
    assert found.status == status
    assert "no incumbent holds alias:champion" in found.summary
    assert found.metrics == {"candidate.accuracy": 0.8, "candidate.error": 0.5}


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ([], "failure"),
        ([(Kind.MIN, "accuracy", 0.5)], "success"),
        ([(Kind.MIN, "accuracy", 0.5), (Kind.MAX_DROP, "accuracy", 0.5)], "failure"),
    ],
)
def test_an_incumbent_that_fails_leaves_differences_unjudged(bounds: list, status: str) -> None:
    found = compared(0.8, *bounds, incumbent=Measurement(2, failure=NEVER_LOADED))
    assert found.status == status
    assert NEVER_LOADED in found.summary


def test_an_incumbent_without_the_metric_leaves_its_difference_unjudged() -> None:
    found = compared(0.8, (Kind.MAX_RISE, "error", 9), incumbent=Measurement(2, {"accuracy": 0.9}))
    assert found.status == "failure"
    assert "can't be judged: version 2 has no such number" in found.summary


@pytest.mark.parametrize("incumbent", [GOOD, None])
def test_a_candidate_that_fails_is_a_failure_with_its_cause(incumbent: Measurement | None) -> None:
    bounds = [Bound(Kind.MIN, "accuracy", 0.1)]
    found = compare(Measurement(3, failure=NEVER_LOADED), incumbent, bounds, SETTING)
    assert (found.status, found.judgements) == ("failure", [])
    assert found.summary.endswith(NEVER_LOADED)


def test_a_version_beside_itself_says_so() -> None:
    found = compare(GOOD, GOOD, [Bound(Kind.MAX_DROP, "accuracy", 0)], SETTING)
    assert found.status == "success"
    assert "it holds alias:champion itself" in found.summary


def test_what_is_reported() -> None:
    found = compared(0.75, incumbent=Measurement(2, {"accuracy": 0.5, "error": math.inf}))
    assert found.metrics == {
        "incumbent.version": 2,
        "candidate.accuracy": 0.75,
        "incumbent.accuracy": 0.5,
        "difference.accuracy": 0.25,
        "candidate.error": 0.5,
    }


def test_no_more_metrics_are_reported_than_the_server_takes_and_the_bounded_ones_always() -> None:
    many = {f"metric_{number:03}": 0.5 for number in range(200)}
    bound = Bound(Kind.MIN, "metric_199", 0.1)
    found = compare(Measurement(3, many), Measurement(2, many), [bound], SETTING)
    assert MAX_METRICS - 3 < len(found.metrics) <= MAX_METRICS
    assert {"candidate.metric_199", "incumbent.metric_199", "difference.metric_199"} <= set(found.metrics)
