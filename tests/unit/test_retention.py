"""How long what was delivered is remembered."""

from datetime import timedelta

import pytest

from lockgate.delivery.retention import RETENTION, STANDARD, read_retention
from lockgate.errors import BadInput


@pytest.mark.parametrize(
    ("text", "remembered"),
    [
        ("", STANDARD),
        (" ", STANDARD),
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("0", None),
        ("forever", None),
    ],
)
def test_a_duration_or_for_ever(text: str, remembered: timedelta | None) -> None:
    assert read_retention({RETENTION: text}) == remembered
    assert read_retention({}) == STANDARD == timedelta(days=30)


@pytest.mark.parametrize("text", ["30", "0d", "-1d", "1 year", "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=RETENTION):
        read_retention({RETENTION: text})
