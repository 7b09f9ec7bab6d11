"""When a receiver asks to be called again."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lockgate.delivery.retry_after import MOST_SECONDS, seconds_to_wait

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("120", 120.0),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("9" * 30, MOST_SECONDS),
        ("9" * 9, MOST_SECONDS),
        ("Mon, 02 Mar 2026 12:05:00 GMT", 300.0),
        ("Mon, 02 Mar 2026 13:05:00 +0100", 300.0),
        ("Mon, 02 Mar 2026 12:05:00 -0000", 300.0),
        ("Monday, 02-Mar-26 12:05:00 GMT", 300.0),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MOST_SECONDS),
        ("Mon, 02 Mar 99999 12:00:00 GMT", None),
        ("Mon, 32 Mar 2026 12:00:00 GMT", None),
    ],
)
def test_seconds_and_dates_are_read(header: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(header, NOON) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d{1,2} \w{3} \d{1,5} \d{1,3}:\d{1,3}:\d{1,3} [-+]?\w{1,5}"))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
def test_whatever_else_is_no_answer(header: str) -> None:
    seconds = seconds_to_wait(header, NOON)
    assert seconds is None or 0 <= seconds <= MOST_SECONDS
