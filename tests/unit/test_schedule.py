"""When a delivery is tried again, and when it is given up."""

from datetime import timedelta

import pytest

from lockgate.delivery.answer import Answer
from lockgate.delivery.schedule import RETRIES, STANDARD, Next, Step, read_schedule, step
from lockgate.errors import BadInput


def answer(status: int | None, error: str = "", retry_after: float | None = None) -> Answer:
    return Answer(status, error, retry_after, 1, b"")


def test_the_standards_schedule_goes_on_for_three_days() -> None:
    waits = [step(answer(500), attempt).after for attempt in range(1, 10)]
    assert waits == [timedelta(seconds=seconds) for seconds in STANDARD]
    assert timedelta(days=3) < sum(waits, timedelta()) < timedelta(days=4)
    assert step(answer(500), 10) == Step(Next.EXHAUSTED)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_success(status: int) -> None:
    assert step(answer(status), 1) == Step(Next.DELIVERED)


@pytest.mark.parametrize("status", [None, 199, 301, 302, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again(status: int | None) -> None:
    assert step(answer(status), 1) == Step(Next.AGAIN, timedelta(seconds=5))


def test_a_success_whose_answer_broke_off_is_none() -> None:
    assert step(answer(200, "The connection broke before the answer was whole."), 1).next is Next.AGAIN


def test_who_is_gone_is_not_asked_again() -> None:
    assert step(answer(410), 1) == Step(Next.GONE)


@pytest.mark.parametrize(("asked", "seconds"), [(1, 5), (60, 60), (10**9, 86_400)])
def test_who_asks_for_a_rest_gets_it_for_a_day_at_most(asked: float, seconds: int) -> None:
    assert step(answer(503, retry_after=asked), 1).after == timedelta(seconds=seconds)


def test_a_schedule_of_ones_own() -> None:
    assert read_schedule({RETRIES: "1, 2.5"}) == (1, 2.5)
    assert read_schedule({RETRIES: " "}) == read_schedule({}) == STANDARD
    for text in ("soon", "1,,2", "-1", "nan", "1e99"):
        with pytest.raises(BadInput, match="comma-separated"):
            read_schedule({RETRIES: text})
