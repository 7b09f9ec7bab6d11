"""What the command takes from the environment to call a server with."""

import pytest

from lockgate.client.connection import Connection
from lockgate.errors import BadInput


@pytest.mark.parametrize("token", ["one two", "one\ntwo", "one\ttwo"])
def test_a_token_of_several_words_is_refused_and_not_told(token: str) -> None:
    with pytest.raises(BadInput, match="one token and nothing else") as refused:
        Connection("http://localhost", {"MLFLOW_TRACKING_TOKEN": token})
    assert "two" not in refused.value.message


def test_blanks_around_a_token_do_no_harm() -> None:
    Connection("http://localhost", {"MLFLOW_TRACKING_TOKEN": " one\n"})
