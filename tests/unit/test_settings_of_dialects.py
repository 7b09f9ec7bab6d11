"""The settings that dialects know."""

import pytest

from lockgate.errors import BadInput
from lockgate.events.dialects.named import dialects
from lockgate.events.settings import Setting, check_settings, secret_among

KNOWN = (
    Setting("project"),
    Setting("token", is_secret=True),
    Setting("variables[NAME]", is_secret=True, is_text=True, pattern=r"variables\[[A-Za-z_]\w*\]"),
)


def refused(**given: str) -> str:
    with pytest.raises(BadInput) as caught:
        check_settings("gitlab", KNOWN, given)
    return caught.value.message


def test_what_a_dialect_knows_is_taken() -> None:
    check_settings("gitlab", KNOWN, {"project": "a b", "token": "t", "variables[A_1]": " several\nlines "})
    check_settings("slack", (), {})


@pytest.mark.parametrize("name", ["Token", "tokens", "variables[]", "variables[A-B]", "variables[A]]", "variables", ""])
def test_what_it_does_not_know_is_refused_naming_what_there_is(name: str) -> None:
    said = refused(**{name: "the value"})
    assert "project, token, variables[NAME]" in said
    assert "the value" not in said


def test_where_there_are_none_it_says_so() -> None:
    with pytest.raises(BadInput, match="has no setting 'a'"):
        check_settings("slack", (), {"a": "b"})


@pytest.mark.parametrize("value", [" qq", "qq ", "qq\n", "qq\r\nX-Other: y", "q\0q", "qq\u200b", "\tqq"])
def test_what_could_not_be_sent_is_refused_when_it_is_given_and_not_repeated(value: str) -> None:
    assert "q" not in refused(token=value)
    assert "`project`" in refused(project=value)


def test_a_header_is_ascii_and_a_name_need_not_be() -> None:
    assert "ASCII" in refused(token="tökchen")
    check_settings("gitlab", KNOWN, {"project": "tökchen"})


def test_nobody_knows_what_is_in_a_variable() -> None:
    given = ("project", "token", "variables[REGION]")
    assert secret_among(dialects()["gitlab"].SETTINGS, given) == {"token", "variables[REGION]"}


@pytest.mark.parametrize(
    ("dialect", "name"), [("databricks", "authorization"), ("gitlab", "token"), ("github", "token")]
)
def test_tokens_are_known_to_be_secret(dialect: str, name: str) -> None:
    assert secret_among(dialects()[dialect].SETTINGS, [name]) == {name}
