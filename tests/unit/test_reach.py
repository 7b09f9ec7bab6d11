"""Whether somebody has a right on all models that a pattern names."""

import pytest

from lockgate.access.caveats import caveats_of
from lockgate.access.principals import Principal
from lockgate.access.reach import may_for_all
from lockgate.access.roles import EVERY_MODEL, Permission, Role, RoleBinding

GOVERN = (Permission.GOVERN,)


def somebody(*bindings: RoleBinding) -> Principal:
    return Principal(1, "somebody", bindings=bindings)


@pytest.mark.parametrize(
    ("bound_to", "pattern", "may"),
    [
        (EVERY_MODEL, EVERY_MODEL, True),
        (EVERY_MODEL, "payments-*", True),
        (EVERY_MODEL, "fraud", True),
        ("payments-*", "payments-*", True),
        ("payments-*", "payments-risk", True),
        ("payments-*", "fraud", False),
        ("payments-*", EVERY_MODEL, False),
        # They are within it, and it isn't asked whether they are.
        ("payments-*", "payments-eu-*", False),
        ("payments-*", "payments-?", False),
        ("payments-?", "payments-*", False),
        ("fraud", "fraud", True),
        ("fraud", "frau?", False),
        # A bracket makes a pattern, also one that names a single model, and one that is never closed.
        ("[fp]*", "[fp]*", True),
        ("[fp]*", "fraud", True),
        ("[!f]*", "fraud", False),
        ("payments-*", "payments-[[]1]", False),
        ("payments-*", "payments-[eu", False),
        ("payments-*", "[p]ayments-risk", False),
        ("fraud", "frau[d]", False),
        (EVERY_MODEL, "payments-[[]1]", True),
    ],
)
def test_only_the_same_pattern_or_all_models_will_do(bound_to: str, pattern: str, may: bool) -> None:
    assert may_for_all(somebody(RoleBinding(Role.MAINTAINER, bound_to)), GOVERN, pattern) is may


def test_patterns_are_not_added_up() -> None:
    both = somebody(RoleBinding(Role.MAINTAINER, "a*"), RoleBinding(Role.MAINTAINER, "[!a]*"))
    assert not may_for_all(both, GOVERN, EVERY_MODEL)


def test_the_role_has_to_have_one_of_the_rights() -> None:
    reviewer = somebody(RoleBinding(Role.REVIEWER), RoleBinding(Role.MAINTAINER, "fraud"))
    assert not may_for_all(reviewer, GOVERN, EVERY_MODEL)
    assert may_for_all(reviewer, (*GOVERN, Permission.REVIEW), EVERY_MODEL)
    assert not may_for_all(reviewer, (), EVERY_MODEL)


def test_who_is_not_active_may_nothing() -> None:
    gone = Principal(1, "gone", active=False, bindings=(RoleBinding(Role.ADMIN),))
    assert not may_for_all(gone, GOVERN, "fraud")


@pytest.mark.parametrize(
    ("actions", "patterns", "pattern", "may"),
    [
        (["govern"], [], "payments-*", True),
        (["review"], [], "payments-*", False),
        (["govern"], ["payments-*"], "payments-risk", True),
        (["govern"], ["payments-*"], "fraud", False),
        # A token that is narrowed to a pattern doesn't reach one.
        (["govern"], ["payments-*"], "payments-*", False),
    ],
)
def test_a_token_reaches_no_further_than_it_was_narrowed(
    actions: list[str], patterns: list[str], pattern: str, may: bool
) -> None:
    narrowed = Principal(1, "m", bindings=(RoleBinding(Role.MAINTAINER),), caveats=caveats_of(actions, patterns))
    assert may_for_all(narrowed, GOVERN, pattern) is may
