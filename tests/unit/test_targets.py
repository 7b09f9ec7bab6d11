"""Targets, and aliases that look like protected ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import BadInput
from lockgate.promotions.lookalikes import alias_looks_like
from lockgate.promotions.target import Target


@pytest.mark.parametrize("text", ["stage:Production", "stage:production", "stage:PRODUCTION"])
def test_stages_are_read_in_any_case(text: str) -> None:
    assert Target.parse(text) == Target("stage", "Production")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Production",
        "stage:",
        "stage:Archived",
        "stage:None",
        "stage:Prod",
        "alias:",
        "alias:a b",
        "alias:champion\n",
        "alias:latest",
        "alias:Latest",
        "alias:v1",
        "alias:a/b",
        "alias:" + "x" * 256,
        "model:x",
        "alias:a\0b",
        "STAGE:Production",
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        Target.parse(text)


@given(st.text())
def test_nothing_else_goes_wrong(text: str) -> None:
    try:
        target = Target.parse(text)
    except BadInput:
        return
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "alias",
    [
        "Champion",
        "CHAMPION",
        "champion\n",
        "champi0n",
        "ch\u0430mpion",
        "\u0441hampion",
        "c\u200bhampion",
        "châmpion",
        "ｃｈａｍｐｉｏｎ",
        "champlon",
        "champ1on",
        "charnpion",
        "cham-pion",
        "_champion",
    ],
)
def test_look_alikes_of_a_protected_alias_are_seen(alias: str) -> None:
    assert alias_looks_like(alias, "champion")


@pytest.mark.parametrize("alias", ["champion", "challenger", "champions", "champion-2", "shadow", ""])
def test_other_names_are_not(alias: str) -> None:
    assert not alias_looks_like(alias, "champion")
