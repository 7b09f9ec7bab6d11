"""The states of a request, who served before, evidence and its digest, roles."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.access.principals import LOCKGATE, Caller, Principal, calling, current_caller
from lockgate.access.roles import PERMISSIONS, Permission, Role, RoleBinding
from lockgate.database.history import Tenure
from lockgate.errors import BadInput, Conflict, Refused, Unauthenticated
from lockgate.evidence.record import Evidence
from lockgate.promotions.request import CHANGES, LIVE, PromotionRequest, State, valid_comment
from lockgate.promotions.target import Target
from lockgate.workflow.rollback import line_back

NOW = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)
TARGET = Target("stage", "Production")
REQUEST = PromotionRequest(
    1, "default", "m1", "m", "v1", 1, TARGET, State.OPEN, 1, "ada", "", NOW, NOW + timedelta(days=7), 0, "sha256:", None
)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_only_live_requests_change(before: State, after: State) -> None:
    request = replace(REQUEST, state=before, outcome="bot moved it")
    if after in CHANGES[before]:
        request.check_change(after)
        assert before in LIVE
    else:
        with pytest.raises(Conflict, match=r"[bB]ot moved it"):
            request.check_change(after)


def test_ends_are_ends() -> None:
    assert all(not CHANGES[state] for state in State if state not in LIVE)
    assert all(CHANGES[state] >= set(State) - LIVE for state in LIVE)


def test_a_request_expires_at_its_time_and_only_while_it_is_live() -> None:
    assert not REQUEST.has_expired(REQUEST.expires_at - timedelta(milliseconds=1))
    assert REQUEST.has_expired(REQUEST.expires_at)
    assert not replace(REQUEST, state=State.PROMOTED).has_expired(REQUEST.expires_at)


@pytest.mark.parametrize("text", ["x" * 10_001, "a\0b", "\x1b[31m"])
def test_comments_have_limits(text: str) -> None:
    with pytest.raises(BadInput):
        valid_comment(text)


def tenures(*served: tuple[int, str]) -> list[Tenure]:
    """Who served, one after another: the version's number and how it came."""
    return [Tenure(TARGET, f"v{n}", n, False, NOW, NOW, how, "bot", None, "") for n, how in served]


P, R, A = "promotion", "rollback", "adopted"


@pytest.mark.parametrize(
    ("served", "holder", "back_to"),
    [
        ([], None, None),
        ([(1, P)], 1, None),
        ([(1, P), (2, P)], 2, 1),
        ([(1, P), (3, P), (2, P)], 2, 3),
        ([(1, P), (2, P), (1, R)], 1, None),  # a rollback leaves nothing to go back to before 1
        ([(1, P), (2, P), (3, P), (2, R)], 2, 1),
        ([(1, P), (2, P), (1, R), (3, P)], 3, 1),  # not 2, which was rolled back
        ([(1, P), (2, P), (1, P)], 1, 2),  # promoted again on purpose
        ([(1, A), (2, P)], 2, 1),
        ([(1, P), (2, P)], None, 2),  # cleared: what served last
    ],
)
def test_who_served_before(served: list[tuple[int, str]], holder: int | None, back_to: int | None) -> None:
    found = line_back(tenures(*served), holder, ())
    assert (found.version if found else None) == back_to


def test_deleted_versions_are_passed_over() -> None:
    line = tenures((1, P), (2, P), (3, P))
    line[1] = replace(line[1], version_deleted=True)
    found = line_back(line, 3, ())
    assert found is not None
    assert found.version == 1


numbers = st.floats(allow_nan=True, allow_infinity=True)
texts = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
records = st.builds(
    Evidence,
    number=st.integers(1, 9),
    created_at=st.integers(0, 9),
    description=st.text(max_size=5),
    version_tags=texts,
    metrics=st.dictionaries(st.text(max_size=5), numbers, max_size=3),
    params=texts,
    authors=st.lists(st.text(max_size=3), max_size=2).map(tuple),
)


@given(records)
def test_evidence_survives_being_stored(record: Evidence) -> None:
    stored = Evidence.from_json(record.to_json())
    assert stored.digest == record.digest
    assert stored.changes_since(record) == []


@given(records, records)
def test_digests_differ_exactly_when_something_differs(a: Evidence, b: Evidence) -> None:
    assert (a.digest == b.digest) == (a.changes_since(b) == [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Evidence(1, 0, metrics={"loss": 0.0}), Evidence(1, 0, metrics={"loss": -0.0})),
        (Evidence(1, 0, signature={"optional": 1}), Evidence(1, 0, signature={"optional": True})),
    ],
)
def test_what_only_the_digest_tells_apart_is_a_change(before: Evidence, after: Evidence) -> None:
    assert before.digest != after.digest
    assert after.changes_since(before)


def test_changes_are_named() -> None:
    before = Evidence(1, 0, metrics={"val_auc": 0.9}, tags={"a": "1"})
    after = replace(before, metrics={"val_auc": 0.8}, tags={"b": "2"})
    assert after.changes_since(before) == [
        "metrics.val_auc was 0.9, is 0.8",
        "tags.a is gone, was 1",
        "tags.b is new: 2",
    ]


@pytest.mark.parametrize(
    ("role", "permission", "held"),
    [
        (Role.VIEWER, Permission.READ, True),
        (Role.VIEWER, Permission.WRITE, False),
        (Role.CONTRIBUTOR, Permission.ASK, True),
        (Role.CONTRIBUTOR, Permission.REVIEW, False),
        (Role.CONTRIBUTOR, Permission.PROMOTE, False),
        (Role.REVIEWER, Permission.REVIEW, True),
        (Role.REVIEWER, Permission.PROMOTE, False),
        (Role.RELEASER, Permission.PROMOTE, True),
        (Role.RELEASER, Permission.REVIEW, False),
        (Role.OPERATOR, Permission.ROLL_BACK, True),
        (Role.MAINTAINER, Permission.GOVERN, True),
        (Role.MAINTAINER, Permission.PROMOTE, False),
        (Role.ADMIN, Permission.ADMINISTER, True),
    ],
)
def test_roles(role: Role, permission: Permission, held: bool) -> None:
    assert (permission in PERMISSIONS[role]) is held


def test_a_pattern_bounds_a_role() -> None:
    pat = Principal(1, "pat", bindings=(RoleBinding(Role.CONTRIBUTOR, "payments-*"),))
    assert pat.may(Permission.WRITE, "payments-x")
    assert not pat.may(Permission.WRITE, "Payments-x")
    assert not pat.may(Permission.WRITE, "other")
    assert not pat.may(Permission.WRITE)
    assert pat.may_somewhere(Permission.WRITE)
    assert not replace(pat, active=False).may(Permission.WRITE, "payments-x")
    with pytest.raises(Refused, match="needs the role contributor"):
        Caller(pat).require(Permission.WRITE, "other")


def test_outside_a_call_nobody_is_calling() -> None:
    with pytest.raises(Unauthenticated):
        current_caller()
    with calling(LOCKGATE):
        assert current_caller() is LOCKGATE
