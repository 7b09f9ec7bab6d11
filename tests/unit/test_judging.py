"""What each kind of gate comes to, and the verdict of all of them: tables of values, no clock and no database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import Role, RoleBinding
from lockgate.decisions.verdict import decide, uncovered, why_not_carry_out, why_not_roll_back
from lockgate.evidence.record import Evidence
from lockgate.gates.document import read_policy
from lockgate.gates.judge import Check, Facts, Outcome, judge
from lockgate.gates.policy import Policy, Rule
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Review, Verdict

NOW = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)  # a Wednesday
PRODUCTION = Target("stage", "Production")
GOOD = Evidence(
    number=2,
    created_at=0,
    description="Trained on v1",
    metrics={"val_auc": 0.9},
    tags={"data_version": "v1"},
    signature={"inputs": "[]"},
    registrar="ada",
    authors=("ada", "ci"),
)


def person(name: str, *roles: str, groups: tuple[str, ...] = (), kind: Kind = Kind.USER) -> Principal:
    bindings = tuple(RoleBinding(Role(role.partition(":")[0]), role.partition(":")[2] or "*") for role in roles)
    return Principal(abs(hash(name)) % 10_000, name, kind, groups=frozenset(groups), bindings=bindings)


ADA = person("ada", "contributor", "reviewer", groups=("senior",))
SUE = person("sue", "reviewer", groups=("senior",))
SAM = person("sam", "reviewer", groups=("senior",))
REX = person("rex", "reviewer")
BOT = person("bot", "releaser", "reviewer", kind=Kind.SERVICE, groups=("senior",))
CI = person("ci", "contributor", kind=Kind.SERVICE)
ADAS = replace(person("adas", "contributor", kind=Kind.SERVICE), owner="ada")


def policy(**rule: Any) -> Policy:
    import yaml

    whole = {"name": "r", "models": "*", "targets": ["stage:Production"], **rule}
    return read_policy(yaml.safe_dump({"version": 1, "rules": [whole]}))


def the_rule(**rule: Any) -> Rule:
    return policy(**rule).rules[0]


def facts(**given: Any) -> Facts:
    return replace(
        Facts("m", GOOD, None, "ada", frozenset({"ada", "ci"}), {}, {}, NOW),
        **given,
    )


def check(status: str, reporter: Principal = CI) -> dict[str, Check]:
    return {"smoke": Check("smoke", status, reporter, NOW, GOOD.digest)}


@pytest.mark.parametrize(
    ("gate", "given", "outcome", "says"),
    [
        ({"expr": "metrics.val_auc >= 0.85"}, {}, Outcome.PASSED, "is 0.9"),
        ({"expr": "metrics.val_auc >= 0.95"}, {}, Outcome.FAILED, "is 0.9"),
        ({"expr": "metrics.f1 >= 0.95"}, {}, Outcome.FAILED, "metrics.f1 is missing"),
        ({"expr": "metrics.x != 1.0"}, {"candidate": replace(GOOD, metrics={"x": float("nan")})}, Outcome.FAILED, "missing"),
        ({"expr": "params.a > 1"}, {"candidate": replace(GOOD, params={"a": "2"})}, Outcome.ERROR, "params.a is '2'"),
        ({"expr": "incumbent.metrics.val_auc < 0.9"}, {}, Outcome.FAILED, "missing"),
        ({"expr": "incumbent.version.number == 2"}, {"incumbent": GOOD}, Outcome.PASSED, "is 2"),
        ({"expr": "model.name == 'm' && requester == 'ada'"}, {}, Outcome.PASSED, "requester is 'ada'"),
        ({"expr": "checks.smoke.status == 'success'"}, {"checks": check("success")}, Outcome.PASSED, "'success'"),
        ({"expr": "now < timestamp('2030-01-01T00:00:00Z')"}, {}, Outcome.PASSED, "holds"),
        ({"check": "smoke"}, {}, Outcome.PENDING, "has not been reported"),
        ({"check": "smoke"}, {"checks": check("success")}, Outcome.PASSED, "ci reported 'smoke' as success"),
        ({"check": "smoke"}, {"checks": check("failure")}, Outcome.FAILED, "failure"),
        ({"check": "smoke"}, {"checks": check("pending")}, Outcome.PENDING, "pending"),
        ({"check": "smoke"}, {"checks": check("success", ADA)}, Outcome.PENDING, "who shaped this version"),
        ({"check": "smoke"}, {"checks": check("success", SUE)}, Outcome.PASSED, "sue"),
        ({"check": "smoke"}, {"checks": check("success", ADAS)}, Outcome.PENDING, "which ada answers for"),
        ({"check": "smoke"}, {"checks": check("success", replace(ADAS, owner="sue"))}, Outcome.PASSED, "adas reported"),
        ({"check": "smoke", "from": ["service:adas"]}, {"checks": check("success", ADAS)}, Outcome.PASSED, "adas reported"),
        ({"check": "smoke", "from": ["service:bot"]}, {"checks": check("success")}, Outcome.PENDING, "only from service:bot"),
        ({"requires": {"description": True}}, {}, Outcome.PASSED, "there"),
        ({"requires": {"description": True}}, {"candidate": replace(GOOD, description=" ")}, Outcome.FAILED, "a description"),
        ({"requires": {"signature": True}}, {"candidate": replace(GOOD, signature=None)}, Outcome.FAILED, "a signature"),
        ({"requires": {"input_example": True}}, {}, Outcome.FAILED, "an input example"),
        ({"requires": {"run_tags": ["git_commit", "data_version"]}}, {}, Outcome.FAILED, "missing: the run tag 'git_commit'"),
        ({"requires": {"version_tags": ["x"]}}, {}, Outcome.FAILED, "the version tag 'x'"),
        ({"requires": {"model_tags": ["x"]}}, {}, Outcome.FAILED, "the model tag 'x'"),
        ({"soak": {"target": "stage:Staging", "for": "24h"}}, {}, Outcome.PENDING, "not in stage:Staging"),
        (
            {"soak": {"target": "stage:Staging", "for": "24h"}},
            {"held_since": {Target("stage", "Staging"): NOW - timedelta(hours=23)}},
            Outcome.PENDING,
            "for 23 h of 1 d",
        ),
        (
            {"soak": {"target": "stage:Staging", "for": "24h"}},
            {"held_since": {Target("stage", "Staging"): NOW - timedelta(hours=24)}},
            Outcome.PASSED,
            "at least 1 d",
        ),
    ],
)  # fmt: skip
def test_gates(gate: dict[str, Any], given: dict[str, Any], outcome: Outcome, says: str) -> None:
    (result,) = judge(the_rule(gates=[{"name": "g", **gate}]), facts(**given))
    assert result.outcome is outcome, result
    assert says in result.explanation, result


def approval(by: Principal, digest: str = GOOD.digest, verdict: Verdict = Verdict.APPROVE) -> Review:
    return Review(1, by, verdict, "", digest, NOW)


TWO = [{"required": 2, "from": ["group:senior"]}]
EXCLUDED = {"ada": "registered this version"}


@pytest.mark.parametrize(
    ("approvals", "reviews", "allowed"),
    [
        ({"required": 0}, [], True),
        ({"required": 1}, [], False),
        ({"required": 1}, [approval(REX)], True),
        ({"required": 1, "from": ["group:senior"]}, [approval(REX)], False),
        ({"required": 1, "from": ["group:senior"]}, [approval(SUE)], True),
        ({"required": 1, "from": ["user:rex", "group:senior"]}, [approval(REX)], True),
        ({"required": 1, "from": ["role:reviewer"]}, [approval(REX)], True),
        ({"required": 1}, [approval(ADA)], False),  # excluded
        ({"required": 1}, [approval(BOT)], False),  # a service account
        ({"required": 1}, [approval(person("vic", "viewer"))], False),  # no such right
        ({"required": 1}, [approval(person("pat", "reviewer:other-*"))], False),  # not on this model
        ({"required": 1}, [approval(replace(SUE, active=False))], False),  # no longer here
        ({"required": 1}, [approval(SUE, digest="sha256:other")], False),  # on other evidence
        ({"required": 1}, [replace(approval(SUE), dismissed="a tag changed, and changed back")], False),
        ({"required": 1}, [replace(approval(SUE), dismissed="a tag changed"), approval(SUE)], True),
        ({"required": 1}, [approval(SUE, verdict=Verdict.COMMENT)], False),
        (TWO, [approval(SUE), approval(SUE)], False),  # one person is one person
        (TWO, [approval(SUE), approval(SAM)], True),
        ([{"required": 1}, {"required": 1, "from": ["user:sam"]}], [approval(SUE)], False),
        # Nobody counts twice, and whoever can fill either place leaves room for the other.
        ([{"required": 1}, {"required": 1, "from": ["user:sam"]}], [approval(SAM)], False),
        ([{"required": 1}, {"required": 1, "from": ["user:sam"]}], [approval(SAM), approval(SUE)], True),
    ],
)
def test_approvals(approvals: Any, reviews: list[Review], allowed: bool) -> None:
    verdict = decide([the_rule(approvals=approvals)], [], reviews, "m", GOOD.digest, EXCLUDED, NOW)
    assert verdict.allows is allowed, verdict.unmet
    assert verdict.is_approved is allowed


def test_every_rule_and_window_has_its_say() -> None:
    rules = [
        the_rule(name="a", approvals={"required": 1}),
        the_rule(
            name="b",
            gates=[{"name": "g", "check": "smoke"}],
            freeze=[{"name": "midweek", "from": "Wed 00:00", "to": "Thu 00:00"}],
        ),
    ]
    gates = [result for one in rules for result in judge(one, facts())]
    verdict = decide(rules, gates, [], "m", GOOD.digest, {}, NOW)
    assert len(verdict.unmet) == 3
    assert "Gate 'g' is pending" in verdict.unmet[0]
    assert "Rule 'a' needs 1 more approval" in verdict.unmet[1]
    assert "midweek" in verdict.unmet[2]


def test_where_nobody_is_asked_the_gates_decide() -> None:
    rule = the_rule(gates=[{"name": "g", "expr": "metrics.val_auc > 0.5"}])
    passed = judge(rule, facts())
    failed = judge(rule, facts(candidate=replace(GOOD, metrics={})))
    assert decide([rule], passed, [], "m", "", {}, NOW).is_approved
    assert not decide([rule], failed, [], "m", "", {}, NOW).is_approved


@pytest.mark.parametrize(
    ("who", "promote", "allowed"),
    [
        (BOT, None, True),
        (BOT, {"by": ["service:bot"]}, True),
        (BOT, {"by": ["service:other"]}, False),
        (BOT, {"by": ["user:bot"]}, False),
        (SUE, {"by": ["user:sue"]}, False),  # named, but without the role
        (person("root", "admin"), None, True),
        (person("root", "admin"), {"by": ["service:bot"]}, False),
        (person("rel", "releaser:other-*"), None, False),
        (BOT, {"on": "approval"}, True),
    ],
)
def test_carrying_out(who: Principal, promote: Any, allowed: bool) -> None:
    assert (why_not_carry_out(who, [the_rule(promote=promote)], "m") is None) is allowed


@pytest.mark.parametrize(
    ("who", "rollback", "allowed"),
    [
        (person("oz", "operator"), None, True),
        (person("oz", "operator"), {"by": ["role:operator"]}, True),
        (person("oz", "operator"), {"by": ["user:other"]}, False),
        (BOT, None, False),
        (person("oz", "operator:other-*"), None, False),
    ],
)
def test_rolling_back(who: Principal, rollback: Any, allowed: bool) -> None:
    assert (why_not_roll_back(who, [the_rule(rollback=rollback)], "m") is None) is allowed


def test_a_protected_target_is_closed_where_no_rule_covers() -> None:
    narrow = policy(models="payments-*")
    assert "no rule of the policy covers the model 'other'" in (uncovered(narrow, "other", PRODUCTION) or "")
    assert uncovered(narrow, "payments-x", PRODUCTION) is None
    assert uncovered(narrow, "other", Target("alias", "champion")) is None
