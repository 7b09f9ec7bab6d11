"""Role bindings as people write them."""

import pytest

from lockgate.access.roles import EVERY_MODEL, parse_binding
from lockgate.errors import BadInput


def test_a_colon_without_a_pattern_gives_nothing() -> None:
    """It is what is left of `releaser:$TEAM` where the variable is not set."""
    with pytest.raises(BadInput, match="no pattern after it"):
        parse_binding("releaser:")
    assert parse_binding("releaser").pattern == EVERY_MODEL
    assert parse_binding("releaser:payments-*").pattern == "payments-*"
