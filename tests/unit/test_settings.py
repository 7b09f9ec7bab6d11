"""Every setting of a policy has an effect: for each, the same facts under a policy with it and one without.

A setting that is read and then ignored is worse than none, since people rely on it. `test_no_setting_is_forgotten`
fails when a field has no row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.access.principals import Principal
from lockgate.decisions import verdict as verdicts
from lockgate.errors import BadInput
from lockgate.evidence.manifest import Artifacts, Hashing
from lockgate.evidence.record import Dataset
from lockgate.gates import document
from lockgate.gates.document import read_policy
from lockgate.gates.freeze import frozen_by
from lockgate.gates.judge import Facts, judge
from lockgate.gates.policy import Policy
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Review, Verdict
from tests.unit.test_judging import BOT, GOOD, NOW, PRODUCTION, REX, SUE, check, facts, person

CHAMPION = Target("alias", "champion")
STAGING = Target("stage", "Staging")
OZ = person("oz", "operator")
DIGEST = GOOD.digest
WEDNESDAY = {"name": "midweek", "from": "Wed 00:00", "to": "Thu 00:00"}
FAILING = {"name": "never", "expr": "metrics.val_auc > 2.0"}
REVIEWED = [Review(1, REX, Verdict.APPROVE, "", DIGEST, NOW)]
ON_V1 = replace(GOOD, number=1, datasets=(Dataset("val", "d1", "evaluation"), Dataset("t", "t1", "training")))
ON_V2 = replace(GOOD, datasets=(Dataset("val", "d2", "evaluation"), Dataset("t", "t2", "training")))
OTHER_SHADOW = replace(ON_V1, number=2, datasets=(*ON_V1.datasets, Dataset("s", "s1", "shadow")))

Outcome = Callable[[Policy], object]
Settings = Mapping[str, Any]


def the_policy(rule: Settings, top: Settings) -> Policy:
    whole = {"name": "r", "models": "*", "targets": ["stage:Production"], **rule}
    return read_policy(yaml.safe_dump({"version": 1, "rules": [whole], **top}))


def judged(known: Facts | None = None, target: Target = PRODUCTION) -> Callable[[Policy], verdicts.Verdict]:
    def of(policy: Policy) -> verdicts.Verdict:
        rules = policy.rules_for("m", target)
        gates = [result for rule in rules for result in judge(rule, known or facts())]
        return verdicts.decide(rules, gates, REVIEWED, "m", DIGEST, {}, NOW)

    return of


def allows(**given: Any) -> Outcome:
    return lambda policy: judged(facts(**given))(policy).allows


def unmet(policy: Policy) -> str:
    return " ".join(judged()(policy).unmet)


def warns(policy: Policy) -> bool:
    return bool(judged()(policy).warnings)


def named(word: str) -> Outcome:
    return lambda policy: f"'{word}'" in unmet(policy)


def may(why_not: Callable[[Principal, Any, str], str | None], who: Principal) -> Outcome:
    return lambda policy: why_not(who, policy.rules_for("m", PRODUCTION), "m") is None


def goes_back(at: datetime = NOW) -> Outcome:
    return lambda policy: not verdicts.frozen_for_rollback(policy.rules_for("m", PRODUCTION), at)


def is_covered(model: str, target: Target) -> Outcome:
    return lambda policy: bool(policy.rules_for(model, target))


def takes_name(name: str) -> Outcome:
    def of(policy: Policy) -> bool:
        try:
            policy.check_name(name)
        except BadInput:
            return False
        return True

    return of


def moves_at_once(policy: Policy) -> bool:
    return all(rule.moves_on_approval for rule in policy.rules)


def gate(**settings: Any) -> dict[str, Any]:
    return {"gates": [{"name": "g", **settings}]}


def requires(**settings: Any) -> dict[str, Any]:
    return gate(requires=settings)


def window(**settings: Any) -> dict[str, Any]:
    return {"freeze": [{**WEDNESDAY, **settings}]}


def evidence(**changed: Any) -> dict[str, Any]:
    return {"candidate": replace(GOOD, **changed)}


FILES = Artifacts(Hashing.UNVERIFIABLE, reason="no such bucket")
SOAKED = {"held_since": {STAGING: NOW - timedelta(hours=10)}}
BY_SUE = {"by": ["user:sue"]}

#: The setting; a rule with it; the rule without it or with another value; what is looked at; what it is with, without.
ROWS: list[tuple[str, Settings, Settings, Outcome, object, object]] = [
    ("Rule.name", {"name": "strict", "approvals": {"required": 2}}, {"approvals": {"required": 2}}, named("strict"), True, False),
    ("Rule.models", {"models": ["a-*", "m"]}, {"models": ["a-*"]}, is_covered("m", PRODUCTION), True, False),
    ("Rule.models", {"models": "M"}, {"models": "m"}, is_covered("m", PRODUCTION), False, True),
    ("Rule.targets", {"targets": ["stage:Production", "alias:champion"]}, {}, is_covered("m", CHAMPION), True, False),
    ("Rule.gates", {"gates": [FAILING]}, {}, allows(), False, True),
    ("Rule.approvals", {"approvals": {"required": 2}}, {}, allows(), False, True),
    ("Rule.promote", {"promote": {"by": ["service:other"]}}, {}, may(verdicts.why_not_carry_out, BOT), False, True),
    ("Rule.freeze", {"freeze": [WEDNESDAY]}, {}, allows(), False, True),
    ("Rule.rollback", {"rollback": BY_SUE}, {}, may(verdicts.why_not_roll_back, OZ), False, True),
    ("Rule.break_glass", {"break_glass": BY_SUE}, {}, may(verdicts.why_not_break_glass, OZ), False, True),
    ("Rule.mode", {"mode": "audit", "gates": [FAILING]}, {"gates": [FAILING]}, allows(), True, False),
    ("Gate.name", {"gates": [{**FAILING, "name": "floor"}]}, {"gates": [FAILING]}, named("floor"), True, False),
    ("Gate.expr", gate(expr="metrics.val_auc > 0.95"), gate(expr="metrics.val_auc > 0.85"), allows(), False, True),
    ("Gate.check", gate(check="smoke"), gate(check="other"), allows(checks=check("success")), True, False),
    ("Gate.requires", requires(input_example=True), requires(), allows(), False, True),
    ("Gate.soak", gate(soak={"target": "stage:Staging", "for": "1h"}), {}, allows(), False, True),
    ("Gate.same_dataset", gate(same_dataset=True), {}, allows(candidate=ON_V2, incumbent=ON_V1), False, True),
    ("Gate.mode", gate(expr="1 > 2", mode="warn"), gate(expr="1 > 2"), allows(), True, False),
    ("Gate.mode", gate(expr="1 > 2", mode="warn"), gate(expr="1 > 2", mode="audit"), warns, True, False),
    ("Gate.when", gate(expr="1 > 2", when="replacing"), gate(expr="1 > 2"), allows(), True, False),
    ("Gate.when", gate(expr="1 > 2", when="first"), gate(expr="1 > 2"), allows(incumbent=ON_V1), True, False),
    ("Gate.when", gate(expr="1 > 2", when="first"), gate(expr="1 > 2", when="replacing"), allows(), False, True),
    ("Gate.from_", gate(check="smoke", **{"from": ["service:bot"]}), gate(check="smoke"), allows(checks=check("success")), False, True),
    ("Requirements.description", requires(description=True), requires(), allows(**evidence(description="")), False, True),
    ("Requirements.signature", requires(signature=True), requires(), allows(**evidence(signature=None)), False, True),
    ("Requirements.input_example", requires(input_example=True), requires(), allows(), False, True),
    ("Requirements.artifacts", requires(artifacts=True), requires(), allows(**evidence(artifacts=FILES)), False, True),
    ("Requirements.artifacts", requires(artifacts=True), requires(), allows(), False, True),  # no files at all
    ("Requirements.run_tags", requires(run_tags=["git"]), requires(run_tags=["data_version"]), allows(), False, True),
    ("Requirements.version_tags", requires(version_tags=["x"]), requires(), allows(), False, True),
    ("Requirements.version_tags", requires(version_tags=["x"]), requires(version_tags=["y"]), allows(**evidence(version_tags={"x": "1"})), True, False),
    ("Requirements.model_tags", requires(model_tags=["x"]), requires(), allows(), False, True),
    ("Requirements.model_tags", requires(model_tags=["x"]), requires(model_tags=["y"]), allows(**evidence(model_tags={"x": "1"})), True, False),
    ("SoakTime.target", gate(soak={"target": "alias:shadow", "for": "1h"}), gate(soak={"target": "stage:Staging", "for": "1h"}), allows(**SOAKED), False, True),
    ("SoakTime.for_", gate(soak={"target": "stage:Staging", "for": "11h"}), gate(soak={"target": "stage:Staging", "for": "10h"}), allows(**SOAKED), False, True),
    ("SameDataset.context", gate(same_dataset={"context": "evaluation"}), gate(same_dataset=True), allows(candidate=OTHER_SHADOW, incumbent=ON_V1), True, False),
    ("SameDataset.context", gate(same_dataset={"context": "shadow"}), gate(same_dataset={}), allows(candidate=ON_V1, incumbent=ON_V1), False, True),
    ("Approvals.required", {"approvals": {"required": 2}}, {"approvals": {"required": 1}}, allows(), False, True),
    ("Approvals.required", {"approvals": {}}, {"approvals": {"required": 2}}, allows(), True, False),  # one, if not said
    ("Approvals.from_", {"approvals": {"from": ["group:senior"]}}, {"approvals": {"from": ["user:rex"]}}, allows(), False, True),
    ("Promote.by", {"promote": {"by": ["user:sue"]}}, {"promote": {"by": ["service:bot"]}}, may(verdicts.why_not_carry_out, BOT), False, True),
    ("Promote.on", {"promote": {"on": "approval"}}, {"promote": {"by": ["service:bot"]}}, moves_at_once, True, False),
    ("Rollback.by", {"rollback": BY_SUE}, {"rollback": {"by": ["user:oz"]}}, may(verdicts.why_not_roll_back, OZ), False, True),
    ("Rollback.respects_freeze", {"rollback": {"respects_freeze": True}, **window()}, {"rollback": {}, **window()}, goes_back(), False, True),
    ("BreakGlass.by", {"break_glass": BY_SUE}, {"break_glass": {"by": ["user:oz"]}}, may(verdicts.why_not_break_glass, OZ), False, True),
    ("FreezeWindow.name", window(name="lunch"), window(), named("lunch"), True, False),
    ("FreezeWindow.from_", window(**{"from": "Wed 12:01"}), window(**{"from": "Wed 12:00"}), allows(), True, False),
    ("FreezeWindow.to", window(to="Wed 12:00"), window(to="Wed 12:01"), allows(), True, False),
    ("FreezeWindow.timezone", window(to="Wed 13:00", timezone="Europe/Berlin"), window(to="Wed 13:00"), allows(), True, False),
    ("Policy.rules", {}, {"targets": ["alias:other"]}, lambda policy: policy.protects(PRODUCTION), True, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("with_it", "without", "outcome", "if_with", "if_without"),
    [row[1:] for row in ROWS],
    ids=[f"{number}-{row[0]}" for number, row in enumerate(ROWS)],
)
def test_the_setting_makes_the_difference(
    with_it: Settings, without: Settings, outcome: Outcome, if_with: object, if_without: object
) -> None:
    assert outcome(the_policy(with_it, {})) == if_with
    assert outcome(the_policy(without, {})) == if_without
    assert if_with != if_without


def test_the_policys_own_settings() -> None:
    named_so = the_policy({}, {"naming": "{domain}-{team}"})
    assert not takes_name("m")(named_so)
    assert takes_name("risk-credit")(named_so)
    assert takes_name("m")(the_policy({}, {}))
    with pytest.raises(BadInput, match="must be 1"):
        the_policy({}, {"version": 2})


#: What comes of these is seen only where a transaction is; the tests that fail without them.
SHOWN_ELSEWHERE = {
    "Rule.expires_after": ("integration/test_gate_in_full.py", "test_a_request_lives_as_long_as_the_shortest_rule"),
    "Rule.on_rejection": ("integration/test_gate_in_full.py", "test_a_rejection_unstages_where_the_policy_says_so"),
    "BreakGlass.ticket": ("integration/test_emergencies.py", "test_breaking_the_glass_is_for_few_and_needs_a_ticket"),
    "BreakGlass.review_within": ("integration/test_emergencies.py", "test_the_time_for_the_review_is_the_shortest"),
    "Policy.version": ("unit/test_settings.py", "test_the_policys_own_settings"),
    "Policy.naming": ("unit/test_settings.py", "test_the_policys_own_settings"),
}
#: Asked when a policy is applied, not when a promotion is judged.
ABOUT_POLICIES = {"Policy.changes", "Changes.approvals"}


def test_no_setting_is_forgotten() -> None:
    fields = {f"{part.__name__}.{name}" for part in document._PARTS for name in part.model_fields}
    assert {row[0] for row in ROWS} | SHOWN_ELSEWHERE.keys() | ABOUT_POLICIES == fields
    folder = Path(__file__).parents[1]
    for file, test in SHOWN_ELSEWHERE.values():
        assert f"def {test}(" in (folder / file).read_text(), f"{file} has no {test}"


@pytest.mark.parametrize("required", [1, 2])
def test_each_demand_of_a_list_counts(required: int) -> None:
    """Two demands are two people, and a demand that is met does not stand for the other."""
    policy = the_policy({"approvals": [{"required": required}, {"required": 1, "from": ["user:sue"]}]}, {})
    seats = [
        Review(n, who, Verdict.APPROVE, "", DIGEST, NOW) for n, who in enumerate((SUE, REX, person("pat", "reviewer")))
    ]

    def allowed(reviews: list[Review]) -> bool:
        return verdicts.decide(policy.rules, [], reviews, "m", DIGEST, {}, NOW).allows

    assert not allowed(seats[:1])
    assert not allowed(seats[1:])
    assert allowed(seats[: required + 1])


def test_every_rule_that_covers_must_be_met() -> None:
    text = yaml.safe_dump(
        {
            "version": 1,
            "rules": [
                {"name": "all", "models": "*", "targets": ["stage:Production"], "promote": {"on": "approval"}},
                {"name": "ours", "models": "m", "targets": ["stage:Production"], "gates": [FAILING]},
            ],
        }
    )
    policy = read_policy(text)
    assert not judged()(policy).allows
    assert [rule.moves_on_approval for rule in policy.rules_for("m", PRODUCTION)] == [True, False]
    assert len(policy.rules_for("other", PRODUCTION)) == 1


def test_a_mode_of_a_gate_is_not_the_mode_of_its_rule() -> None:
    """A rule in audit mode protects nothing, so it does not close the target to other models either."""
    audited = the_policy({"mode": "audit", "models": "payments-*"}, {})
    assert not audited.protects(PRODUCTION)
    assert verdicts.uncovered(audited, "m", PRODUCTION) is None
    assert len(audited.audited_rules_for("payments-x", PRODUCTION)) == 1
    assert audited.audited_rules_for("m", PRODUCTION) == ()
    quiet = the_policy(gate(expr="1 > 2", mode="audit"), {})
    assert quiet.protects(PRODUCTION)
    (found,) = judged()(quiet).gates
    assert (found.outcome, found.denies, found.warns) == ("failed", False, False)


def test_obstacles_and_windows_count_whatever_the_gates_say() -> None:
    policy = the_policy(window(), {})
    allowed = verdicts.decide(policy.rules, [], [], "m", DIGEST, {}, datetime(2026, 5, 14, tzinfo=UTC))
    assert allowed.allows
    assert not verdicts.decide(policy.rules, [], [], "m", DIGEST, {}, NOW).allows
    held = verdicts.decide(policy.rules, [], [], "m", DIGEST, {}, datetime(2026, 5, 14, tzinfo=UTC), ["On hold."])
    assert held.unmet == ("On hold.",)
    assert frozen_by(policy.rules[0].freeze, NOW)
