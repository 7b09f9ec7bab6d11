"""Gate expressions: what they come to, and what they say of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import BadInput
from lockgate.gates.expression import MAX_LENGTH, check_expression, evaluate


def variables(**given: Any) -> dict[str, Any]:
    return {
        "metrics": {"val_auc": 0.9, "val_size": 114.0},
        "params": {"n_estimators": "100"},
        "tags": {"data_version": "v1"},
        "version": {"number": 3, "tags": {}, "description": "", "created_at": 0},
        "model": {"name": "m", "tags": {}},
        "incumbent": None,
        "requester": "ada",
        "checks": {},
        "now": None,
        **given,
    }


INCUMBENT = {"metrics": {"val_auc": 0.95}}
REGRESSION = "incumbent == null || metrics.val_auc >= incumbent.metrics.val_auc - 0.005"


@pytest.mark.parametrize(
    ("text", "given", "value", "says"),
    [
        ("metrics.val_auc >= 0.85", {}, True, "metrics.val_auc is 0.9"),
        ("metrics.val_auc >= 0.95", {}, False, "metrics.val_auc >= 0.95 does not hold: metrics.val_auc is 0.9"),
        ("metrics.val_size >= 100", {}, True, "metrics.val_size is 114"),
        ("metrics.f1 >= 0.5", {}, False, "metrics.f1 is missing"),
        ("metrics['val_auc'] > 1.0", {}, False, "metrics['val_auc'] is 0.9"),
        ("tags.git_commit != ''", {}, False, "tags.git_commit is missing"),
        (REGRESSION, {}, True, "there is no incumbent"),
        (REGRESSION, {"incumbent": INCUMBENT}, False, "incumbent.metrics.val_auc is 0.95"),
        (REGRESSION, {"incumbent": {"metrics": {}}}, False, "incumbent.metrics.val_auc is missing"),
        ("version.number > 2", {}, True, "version.number is 3"),
        ("requester == 'ada'", {}, True, "requester is 'ada'"),
        ("params.n_estimators > 50", {}, None, "could not be evaluated"),
        ("1 / 0 == 1", {}, None, "could not be evaluated"),
        ("metrics.val_auc", {}, None, "neither true nor false"),
        ("checks.shadow.metrics.lift > 0.0", {}, False, "checks.shadow.metrics.lift is missing"),
        ("['a', 'b'].all(x, x != 'c')", {}, True, "holds"),
        ("has(metrics.f1)", {}, False, "does not hold"),
        ("tags.data_version == 'metrics.f1'", {}, False, "tags.data_version is 'v1'"),
    ],
)
def test_results_explain_themselves(text: str, given: dict[str, Any], value: bool | None, says: str) -> None:
    result = evaluate(check_expression(text), variables(**given))
    assert result.value is value
    assert says in result.explanation


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metrics.",
        "nope > 1",
        "x",
        "metrics.a > 1 and true",
        "true" + " || true" * MAX_LENGTH,
        "[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))",
    ],
)
def test_what_can_not_be_evaluated_is_refused_beforehand(text: str) -> None:
    with pytest.raises(BadInput):
        check_expression(text)


@given(st.text(max_size=60))
def test_checking_never_fails_otherwise(text: str) -> None:
    try:
        check_expression(text)
    except BadInput:
        return
    evaluate(text, variables())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_do_not_pass_a_floor(value: float) -> None:
    result = evaluate("metrics.val_auc >= 0.85", variables(metrics={"val_auc": value}))
    assert result.value is (True if value == float("inf") else False if value == float("-inf") else None)
