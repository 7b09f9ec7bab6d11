"""When a goal counts as reached, when answers as the same, and where a table is put."""

import re
from dataclasses import replace
from typing import Any

import pytest
from bench.answers import difference, without_times
from bench.goals import Goal, Growth
from bench.table import Cost, Row, line, replaced
from bench.wrk import Borne

STOCK = Borne(calls=100, seconds=1, p50=10, p99=20, failed=0, client=0.1)
FAST = Borne(calls=2_500, seconds=1, p50=1, p99=2, failed=0, client=0.1)


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (Goal(25), True),
        (Goal(25.1), False),
        (Goal(25, share=0.1), True),
        (Goal(25, share=0.09), False),
        (Goal(under=1.1), True),
        (Goal(under=1), False),
    ],
)
def test_a_goal_is_reached_where_each_part_of_it_is(goal: Goal, reached: bool) -> None:
    assert goal.holds(STOCK, FAST) is reached


def test_a_goal_is_not_reached_by_calls_that_fail() -> None:
    assert not Goal(1).holds(STOCK, replace(FAST, failed=1))


def test_calls_that_fail_are_no_throughput() -> None:
    assert replace(FAST, failed=2_000).rate == 500


@pytest.mark.parametrize(("rate", "reached"), [(2_500, True), (1_250, True), (1_249, False)])
def test_growth_is_the_time_beside_that_where_there_is_less(rate: int, reached: bool) -> None:
    assert Growth("deep", 2).holds(FAST, replace(FAST, calls=rate)) is reached


def test_a_row_says_what_is_wrong() -> None:
    row = Row("work", Cost(STOCK, 9), Cost(replace(FAST, failed=1), 1), Goal(1), differs="$.name")
    assert row.verdict == "no, 1 of 2,500 failed, the answers differ"
    assert replace(row, lockgate=Cost(FAST, 1), differs=None).verdict == "yes"
    assert "| 2,500 | 100 | 25.0 × | 1.00 | 10.00 |" in line(replace(row, lockgate=Cost(FAST, 1)))


@pytest.mark.parametrize(
    ("stock", "lockgate", "place"),
    [
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "x"}]}, None),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, "$.a[1].b"),
        ({"a": [1, 2]}, {"a": [2, 1]}, "$.a[0]"),
        ({"a": [1, 2]}, {"a": [1]}, "$.a"),
        ({"a": ""}, {}, "$"),
        ({"a": 1}, {"a": True}, "$.a"),
        ({"a": 1}, {"a": "1"}, "$.a"),
    ],
)
def test_the_first_difference_is_told(stock: Any, lockgate: Any, place: str | None) -> None:
    told = difference(stock, lockgate)
    assert told is None if place is None else (told is not None and told.startswith(f"{place} is "))


def test_only_times_of_changes_may_differ() -> None:
    version = {"version": "3", "creation_timestamp": 1, "last_updated_timestamp": 2, "tags": [{"key": "k"}]}
    assert without_times({"model_version": version}) == {"model_version": {"version": "3", "tags": [{"key": "k"}]}}


def test_a_table_takes_the_place_of_the_one_before() -> None:
    document = "# Title\n<!-- measured -->\nold\n<!-- end of what was measured -->\nrest\n"
    once = replaced(document, "new\n")
    assert once == "# Title\n<!-- measured -->\nnew\n<!-- end of what was measured -->\nrest\n"
    assert replaced(once, "new") == once


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<!-- measured -->",
        "<!-- end of what was measured --> <!-- measured -->",
        "<!-- measured --><!-- measured --><!-- end of what was measured -->",
    ],
)
def test_a_document_without_a_place_is_left_alone(document: str) -> None:
    with pytest.raises(ValueError, match=re.escape("<!-- measured -->")):
        replaced(document, "new")
