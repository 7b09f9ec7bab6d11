"""The form that names of new models must have."""

import random
import re

import pytest

from lockgate.errors import BadInput
from lockgate.gates.naming import Naming

FORM = "{domain}-{team}-{use_case}"


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (FORM, "payments-fraud-scorer"), (FORM, "a-b-c"), (FORM, "a-b-c-d-e"), (FORM, "a--b-c"), (FORM, "a_-b-1"),
        ("{x}", "a"), ("ml.{x}", "ml.a"), ("{x}.prod", "a-b.prod"), ("{x}{y}", "ab"), ("{x}/{y}", "a/b"),
    ],
)  # fmt: skip
def test_names_that_fit(form: str, name: str) -> None:
    Naming.parse(form).check(name)


@pytest.mark.parametrize(
    ("form", "name", "why", "good"),
    [
        (FORM, "fraud", "'-' and {team} must follow {domain}", "domain-team-use-case"),
        (FORM, "payments-fraud", "'-' and {use_case} must follow {team}", "domain-team-use-case"),
        (FORM, "payments-fraud-", "'-' and {use_case} must follow {team}", "domain-team-use-case"),
        (FORM, "Payments-Fraud-Scorer", "{domain} begins with 'P'", "payments-fraud-scorer"),
        (FORM, "payments-fraud-my scorer", "' ' can't stand in it", "payments-fraud-my-scorer"),
        (FORM, "payments fraud scorer", "' ' can't stand in it", "payments-fraud-scorer"),
        (FORM, "", "{domain} is empty", "domain-team-use-case"),
        ("ml.{x}", "a", "does not begin with 'ml.'", "ml.x"),
        ("{x}.prod", "a.test", "'.prod' must follow {x}", "x.prod"),
        (FORM, "a-b-c\n", "can't stand in it", "a-b-c"),
    ],
)
def test_names_that_do_not_fit(form: str, name: str, why: str, good: str) -> None:
    with pytest.raises(BadInput) as refused:
        Naming.parse(form).check(name)
    assert why in refused.value.message
    assert refused.value.message.endswith(f"A good one: {good!r}.")
    Naming.parse(form).check(good)


def test_it_says_what_a_regular_expression_would() -> None:
    chance = random.Random(7)
    for form in (FORM, "{a}{b}", "x-{a}-x", "{a}--{b}", "{a}.{b}-{c}", "{a}-.{b}", "-{a}_{b}-"):
        naming = Naming.parse(form)
        oracle = re.compile("[a-z0-9][a-z0-9_-]*".join(map(re.escape, naming.literals)))
        fitting = 0
        for _ in range(3_000):
            name = "".join(chance.choice("ax-_.A") for _ in range(chance.randrange(9)))
            fits = oracle.fullmatch(name) is not None
            assert (naming.problem(name) is None) is fits, (form, name)
            fitting += fits
        assert fitting


def test_many_parts_take_no_long_time() -> None:
    naming = Naming.parse("-".join(f"{{p{n}}}" for n in range(30)))
    assert naming.problem("a-" * 120 + "!") is not None  # a regular expression would try for longer than anybody waits
    assert naming.problem("a-" * 120 + "a") is None


@pytest.mark.parametrize("form", ["fraud", "{Domain}", "{}", "{a", "a}", "{a}{"])
def test_forms_that_are_none(form: str) -> None:
    with pytest.raises(ValueError, match="placeholders"):
        Naming.parse(form)
