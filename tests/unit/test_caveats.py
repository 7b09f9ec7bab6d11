"""What a token is narrowed to, and that it never comes to be more."""

from dataclasses import replace

import pytest

from lockgate.access.caveats import Caveat, caveats_of, from_json, to_json
from lockgate.access.explain import Limit, Question, allows, explain
from lockgate.access.principals import Caller, Kind, Principal
from lockgate.access.roles import Permission, Role, RoleBinding, parse_permission
from lockgate.access.selectors import Selector
from lockgate.errors import BadInput, Refused

ADA = Principal(1, "ada", bindings=(RoleBinding(Role.RELEASER), RoleBinding(Role.CONTRIBUTOR)))
PROMOTES_PAYMENTS = caveats_of(["promote"], ["payments-*"])


@pytest.mark.parametrize(
    ("caveats", "permission", "name", "may"),
    [
        ((), Permission.PROMOTE, "fraud", True),
        ((), Permission.PROMOTE, None, True),
        ((), Permission.REVIEW, "fraud", False),
        (PROMOTES_PAYMENTS, Permission.PROMOTE, "payments-x", True),
        (PROMOTES_PAYMENTS, Permission.READ, "payments-x", True),
        (PROMOTES_PAYMENTS, Permission.PROMOTE, "fraud", False),
        (PROMOTES_PAYMENTS, Permission.READ, "fraud", False),
        (PROMOTES_PAYMENTS, Permission.PROMOTE, None, False),
        (PROMOTES_PAYMENTS, Permission.WRITE, "payments-x", False),
        (caveats_of(["review"], []), Permission.REVIEW, "fraud", False),  # ada may not, so her token may not
        (caveats_of(["write"], []), Permission.WRITE, None, True),
        (caveats_of([], ["*"]), Permission.WRITE, None, True),
        (caveats_of([], ["a", "b-*"]), Permission.WRITE, "b-c", True),
        (caveats_of([], ["a", "b-*"]), Permission.WRITE, "c", False),
        ((*PROMOTES_PAYMENTS, *caveats_of(["write"], [])), Permission.PROMOTE, "payments-x", False),
        ((*PROMOTES_PAYMENTS, *caveats_of([], ["*-x"])), Permission.PROMOTE, "payments-x", True),
        ((*PROMOTES_PAYMENTS, *caveats_of([], ["*-x"])), Permission.PROMOTE, "payments-y", False),
    ],
)
def test_what_a_token_allows(caveats: tuple[Caveat, ...], permission: Permission, name: str, may: bool) -> None:
    assert replace(ADA, caveats=caveats).may(permission, name) is may
    assert replace(ADA, caveats=from_json(to_json(caveats))).may(permission, name) is may


def test_somewhere_is_what_no_caveat_forbids_everywhere() -> None:
    narrowed = replace(ADA, caveats=PROMOTES_PAYMENTS)
    assert narrowed.may_somewhere(Permission.PROMOTE)
    assert not narrowed.may_somewhere(Permission.WRITE)
    assert ADA.may_somewhere(Permission.WRITE)


@pytest.mark.parametrize("stored", ["", "{", "7", '[{"only": ["fly"]}]', '[{"until": 3}]', "[7]", '[{"only": 7}]'])
def test_what_is_not_understood_allows_nothing(stored: str) -> None:
    narrowed = replace(ADA, caveats=from_json(stored))
    assert not any(narrowed.may(right, "m") or narrowed.may_somewhere(right) for right in Permission)


def test_a_refusal_says_that_it_is_the_token() -> None:
    with pytest.raises(Refused, match=r"the token that is used allows only read, carry out promotions on payments-\*"):
        Caller(replace(ADA, caveats=PROMOTES_PAYMENTS)).require(Permission.WRITE, "payments-x")
    Caller(ADA).require(Permission.WRITE, "payments-x")


def test_every_action_has_a_short_name_and_no_other_is_known() -> None:
    short = ["read", "write", "ask", "check", "review", "promote", "rollback", "break-glass", "govern", "administer"]
    assert [parse_permission(name) for name in short] == list(Permission)
    assert [parse_permission(right) for right in Permission] == list(Permission)
    with pytest.raises(BadInput, match="Actions: read, write"):
        parse_permission("fly")


@pytest.mark.parametrize("patterns", [[""], ["a" * 257], ["a\0"], [f"p{n}" for n in range(51)]])
def test_patterns_have_limits(patterns: list[str]) -> None:
    with pytest.raises(BadInput, match="patterns of names"):
        caveats_of([], patterns)


BOT = Principal(2, "bot", Kind.SERVICE, bindings=(RoleBinding(Role.RELEASER, "fraud-*"),), owner="ada")
BY_BOT = (Limit("production", (Selector.parse("service:bot"),)),)


@pytest.mark.parametrize(
    ("question", "allowed", "said"),
    [
        (Question(ADA, Permission.PROMOTE, "m"), True, "The role releaser lets ada carry out promotions on 'm'"),
        (Question(ADA, Permission.REVIEW, "m"), False, "none carries it"),
        (Question(ADA, Permission.REVIEW, "m"), False, "`lockgate users add ada --role reviewer:m`"),
        (Question(replace(ADA, bindings=()), Permission.READ), False, "ada has no role"),
        (Question(replace(ADA, active=False), Permission.READ), False, "ada is not active"),
        (Question(BOT, Permission.PROMOTE, "fraud-x"), True, "The role releaser:fraud-* lets bot"),
        (Question(BOT, Permission.PROMOTE, "m"), False, "bound to 'fraud-*': not on 'm'"),
        (Question(BOT, Permission.PROMOTE), False, "not on all models"),
        (Question(BOT, Permission.REVIEW, "m"), False, "only people approve"),
        (Question(BOT, Permission.PROMOTE, "fraud-x", limits=BY_BOT), True, "bot is one of them"),
        (Question(ADA, Permission.PROMOTE, "m", limits=BY_BOT), False, "ada is none of them"),
        (Question(ADA, Permission.ASK, "m", obstacles=("It is closed.",)), False, "It is closed."),
        (Question(ADA, Permission.PROMOTE, "m", tokens=((7, PROMOTES_PAYMENTS),)), True, "Token 7 is for only read"),
        (Question(ADA, Permission.PROMOTE, "m", tokens=((7, PROMOTES_PAYMENTS),)), True, "with it no"),
        (Question(ADA, Permission.PROMOTE, "m", counted=BY_BOT), True, "not ada's"),
    ],
)  # fmt: skip
def test_an_explanation_says_why(question: Question, allowed: bool, said: str) -> None:
    reasons = explain(question)
    assert allows(reasons) is allowed
    assert said in " ".join(reason.sentence for reason in reasons)
