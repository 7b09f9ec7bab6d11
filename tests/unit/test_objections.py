"""What a policy has against moves of the past: tables of values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lockgate.access.principals import Principal
from lockgate.access.roles import Role, RoleBinding
from lockgate.database.checks import newest_at
from lockgate.database.history import Tenure, held_before
from lockgate.decisions.objections import Count, Objection, closed, count, covering, weigh_move, weigh_rollback
from lockgate.evidence.record import Evidence
from lockgate.gates.document import read_policy
from lockgate.gates.judge import Check, Facts
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Review, Verdict

FRIDAY = datetime(2026, 5, 15, 15, 0, tzinfo=UTC)
STAGING, PRODUCTION = Target("stage", "Staging"), Target("stage", "Production")
SUE = Principal(1, "sue", bindings=(RoleBinding(Role.REVIEWER),))
CANDIDATE = Evidence(2, 0, metrics={"auc": 0.8})
POLICY = read_policy("""\
version: 1
rules:
  - name: strict
    models: "pay-*"
    targets: [stage:Production]
    gates:
      - {name: floor, expr: "metrics.auc >= 0.85"}
      - {name: advice, expr: "metrics.auc >= 0.9", mode: warn}
    approvals: {required: 1}
    freeze: [{name: weekend, from: "Fri 12:00", to: "Mon 08:00"}]
    rollback: {respects_freeze: true}
  - name: shadow
    models: "*"
    targets: [stage:Production, stage:Staging]
    gates: [{name: ceiling, expr: "metrics.auc <= 0.7"}]
    mode: audit
""")


def facts(now: datetime) -> Facts:
    return Facts("pay-m", CANDIDATE, None, "ada", frozenset({"ada"}), {}, {}, now)


def approval(at: datetime) -> Review:
    return Review(1, SUE, Verdict.APPROVE, "", CANDIDATE.digest, at)


@pytest.mark.parametrize(
    ("now", "reviewed", "expected"),
    [
        (FRIDAY, None, ["floor", "approvals", "freeze", "ceiling"]),
        (FRIDAY - timedelta(days=1), None, ["floor", "approvals", "ceiling"]),
        (FRIDAY, FRIDAY, ["floor", "freeze", "ceiling"]),
        (FRIDAY, FRIDAY + timedelta(seconds=1), ["floor", "approvals", "freeze", "ceiling"]),
    ],
)
def test_each_part_objects_for_itself(now: datetime, reviewed: datetime | None, expected: list[str]) -> None:
    rules = covering(POLICY, "pay-m", PRODUCTION)
    reviews = [approval(reviewed)] if reviewed else []
    objections, warnings = weigh_move(rules, facts(now), reviews, {"ada": "asked"})
    assert [one.name for one in objections] == expected
    assert [one.name for one in objections if one.audited] == ["ceiling"]
    assert [sentence.split()[1] for sentence in warnings] == ["'advice'"]


def test_judging_can_be_ended_before_each_gate() -> None:
    left = iter(range(2))
    with pytest.raises(StopIteration):
        weigh_move(covering(POLICY, "pay-m", PRODUCTION), facts(FRIDAY), [], {}, lambda: next(left) and None)
    assert next(left, None) is None


@pytest.mark.parametrize(
    ("model", "target", "expected"),
    [
        ("pay-m", PRODUCTION, []),
        ("other", PRODUCTION, [("uncovered", False)]),
        ("other", STAGING, []),
        ("other", Target("alias", "champion"), []),
    ],
)
def test_closed_to_models_without_a_rule(model: str, target: Target, expected: list[tuple[str, bool]]) -> None:
    assert [(one.name, one.audited) for one in closed(POLICY, model, target)] == expected


def test_closed_if_a_rule_in_audit_mode_were_enforced() -> None:
    narrow = read_policy("version: 1\nrules: [{name: s, models: 'pay-*', targets: ['stage:Staging'], mode: audit}]\n")
    assert [(one.name, one.audited) for one in closed(narrow, "other", STAGING)] == [("uncovered", True)]


def test_only_freezes_that_bind_rollbacks_object_to_one() -> None:
    rules = covering(POLICY, "pay-m", PRODUCTION)
    assert [(one.rule, one.name) for one in weigh_rollback(rules, FRIDAY)] == [("strict", "freeze")]
    assert weigh_rollback(rules, FRIDAY - timedelta(days=1)) == []


def test_a_part_is_counted_once_a_move() -> None:
    floor, other = Objection("r", "floor", "a", False), Objection("r", "approvals", "b", False)
    moves = [[floor, other, replace(other, sentence="c")], [floor], []]
    assert count(moves) == [Count("r", "floor", 2), Count("r", "approvals", 1)]


def test_who_held_just_before() -> None:
    def held(version: int, since: int, until: int | None) -> Tenure:
        at = FRIDAY + timedelta(hours=since)
        end = FRIDAY + timedelta(hours=until) if until is not None else None
        return Tenure(PRODUCTION, f"v{version}", version, False, at, end, "direct", "ada", None, "")

    tenures = [held(1, -9, -5), held(2, -5, 0), held(3, -3, None), held(4, 0, None), held(5, 1, None)]
    assert [tenure.version for tenure in held_before(tenures, FRIDAY)] == [2, 3]


def test_the_newest_check_of_then() -> None:
    def check(name: str, status: str, hours: int) -> Check:
        return Check(name, status, SUE, FRIDAY + timedelta(hours=hours))

    reports = [check("a", "failure", -2), check("a", "success", -1), check("b", "success", 0), check("a", "failure", 1)]
    then = newest_at(reports, FRIDAY)
    assert {name: found.status for name, found in then.items()} == {"a": "success", "b": "success"}
