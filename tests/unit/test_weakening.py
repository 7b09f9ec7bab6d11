"""What makes a policy weaker: each setting, in both directions."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.access.principals import Kind, Principal
from lockgate.access.roles import Role, RoleBinding
from lockgate.gates.document import _PARTS, read_policy
from lockgate.gates.narrower import pattern_within
from lockgate.gates.weakening import weakenings
from lockgate.reviews.policy_change import missing_approvals, why_not_approve

HEAD = "version: 1\n"


def rule(lines: str = "", models: str = '"*"', targets: str = "[stage:Production]", name: str = "r") -> str:
    """A policy of one rule with some lines more."""
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"{HEAD}rules:\n  - name: {name}\n    models: {models}\n    targets: {targets}\n{body}"


def gate(lines: str) -> str:
    return rule(f"gates:\n  - {{name: g, {lines}}}")


def changes(lines: str) -> str:
    return rule() + f"changes: {{approvals: {lines}}}\n"


def freeze(from_: str, to: str, zone: str = "UTC") -> str:
    return rule(f"freeze: [{{name: w, from: '{from_}', to: '{to}', timezone: {zone}}}]")


AUDIT = rule("mode: audit")
EXPR = gate("expr: 'metrics.auc > 0.8'")
CHECK = gate("check: ci")
CI = gate("check: ci, from: [service:ci]")
SENIOR = rule("approvals: {required: 1, from: [group:senior]}")
REQUIRES = gate("requires: {description: true, run_tags: [a]}")
TWO = SENIOR + "  - {name: s, models: 'x-*', targets: [stage:Staging]}\n"

#: The setting, a strict policy, one that is weaker in it, and what is said of that.
TABLE = [
    ("Policy.naming", rule() + 'naming: "{a}-{b}"\n', rule(), "named {a}-{b}"),
    ("Policy.naming", rule() + 'naming: "{a}-{b}"\n', rule() + 'naming: "{a}"\n', "named {a}-{b}"),
    ("Policy.rules", TWO, SENIOR, "Rule 's' is gone."),
    ("Policy.rules", TWO, SENIOR, "stage:Staging is no longer protected."),
    ("Policy.changes", changes("{required: 2}"), changes("{required: 1}"), "needs 1 approval fewer"),
    ("Policy.changes", changes("{required: 2}"), rule(), "`changes` named"),
    ("Policy.changes", rule(), changes("{required: 0}"), "needs 1 approval fewer"),
    ("Rule.name", SENIOR, rule(name="other"), "Rule 'r' is gone."),
    ("Rule.models", rule(models='["a-*", "b-*"]'), rule(models='"a-*"'), "no longer covers the models 'b-*'"),
    ("Rule.models", rule(models='"a-*"'), rule(models='"*"'), "opens stage:Production to models"),
    ("Rule.models", rule(models='"a-b-*"'), rule(models='"a-[bc]-*"'), "'a-[bc]-*'"),
    ("Rule.targets", rule(targets="[stage:Production, alias:c]"), rule(), "no longer covers alias:c"),
    ("Rule.targets", rule(targets="[stage:Production, alias:c]"), rule(), "alias:c is no longer protected"),
    ("Rule.gates", EXPR, rule(), "has no gate 'g'"),
    ("Rule.approvals", SENIOR, rule(), "needs 1 approval from group:senior fewer"),
    ("Rule.promote", rule("promote: {by: ['service:bot']}"), rule(), "everybody with the role for it carry out"),
    ("Rule.freeze", freeze("Fri 12:00", "Mon 08:00"), rule(), "'w'"),
    ("Rule.expires_after", rule("expires_after: 24h"), rule("expires_after: 2d"), "for 2d, not 1d"),
    ("Rule.expires_after", rule("expires_after: 6d"), rule(), "for 7d, not 6d"),
    ("Rule.rollback", rule("rollback: {by: [group:a]}"), rule(), "roll back, not only group:a"),
    ("Rule.break_glass", rule("break_glass: {by: [group:a]}"), rule(), "break the glass, not only group:a"),
    ("Rule.on_rejection", rule("on_rejection: unstage"), rule(), "leaves rejected versions"),
    ("Rule.mode", rule(), AUDIT, "audit mode"),
    ("Rule.mode", rule(), AUDIT, "stage:Production is no longer protected"),
    ("Gate.name", EXPR, rule("gates: [{name: h, expr: 'true'}]"), "has no gate 'g'"),
    ("Gate.expr", EXPR, gate("expr: 'metrics.auc > 0.9'"), "another expression"),
    ("Gate.expr", EXPR, CHECK, "about `check` and not `expr`"),
    ("Gate.check", CHECK, gate("check: other"), "wants the check 'other'"),
    ("Gate.requires", REQUIRES, gate("requires: {signature: true}"), "`description`"),
    ("Gate.soak", gate("soak: {target: stage:Staging, for: 2h}"), rule(), "has no gate"),
    ("Gate.same_dataset", gate("same_dataset: true"), gate("same_dataset: {context: x}"), "other datasets"),
    ("Gate.mode", EXPR, gate("expr: 'metrics.auc > 0.8', mode: warn"), "mode 'warn'"),
    ("Gate.mode", gate("check: ci, mode: warn"), gate("check: ci, mode: audit"), "mode 'audit'"),
    ("Gate.when", CHECK, gate("check: ci, when: replacing"), "only for promotions that are `replacing`"),
    ("Gate.when", gate("check: ci, when: first"), gate("check: ci, when: replacing"), "`replacing`, not `first`"),
    ("Gate.from", CI, CHECK, "report the check, not only service:ci"),
    ("Requirements.description", REQUIRES, gate("requires: {run_tags: [a]}"), "`description`"),
    ("Requirements.signature", gate("requires: {signature: true}"), gate("requires: {}"), "`signature`"),
    ("Requirements.input_example", gate("requires: {input_example: true}"), gate("requires: {}"), "`input_example`"),
    ("Requirements.artifacts", gate("requires: {artifacts: true}"), gate("requires: {}"), "`artifacts`"),
    ("Requirements.run_tags", REQUIRES, gate("requires: {description: true, run_tags: [b]}"), "`run_tags: a`"),
    ("Requirements.version_tags", gate("requires: {version_tags: [a]}"), gate("requires: {}"), "`version_tags: a`"),
    ("Requirements.model_tags", gate("requires: {model_tags: [a]}"), gate("requires: {}"), "`model_tags: a`"),
    (
        "SoakTime.target",
        gate("soak: {target: stage:Staging, for: 2h}"),
        gate("soak: {target: alias:c, for: 2h}"),
        "alias:c",
    ),
    (
        "SoakTime.for",
        gate("soak: {target: stage:Staging, for: 2h}"),
        gate("soak: {target: stage:Staging, for: 90m}"),
        "90m, not 2h",
    ),
    ("SameDataset.context", gate("same_dataset: {context: x}"), gate("same_dataset: {context: y}"), "other datasets"),
    (
        "Approvals.required",
        rule("approvals: {required: 3}"),
        rule("approvals: {required: 1}"),
        "needs 2 approvals fewer",
    ),
    ("Approvals.from", SENIOR, rule("approvals: {required: 5}"), "from group:senior fewer, or from others"),
    ("Approvals.from", SENIOR, rule("approvals: {from: [group:senior, user:x]}"), "from group:senior"),
    ("Promote.by", rule("promote: {by: ['service:b']}"), rule("promote: {by: ['service:c']}"), "lets service:c"),
    ("Promote.on", rule(), rule("promote: {on: approval}"), "lets the last approval"),
    ("Promote.on", rule("promote: {by: ['service:b']}"), rule("promote: {on: approval}"), "lets the last approval"),
    ("Rollback.by", rule("rollback: {by: [group:a]}"), rule("rollback: {by: [group:b]}"), "lets group:b roll back"),
    (
        "Rollback.respects_freeze",
        rule("rollback: {respects_freeze: true}"),
        rule(),
        "rollbacks go on in freeze windows",
    ),
    ("BreakGlass.by", rule("break_glass: {by: [group:a]}"), rule("break_glass: {by: [role:admin]}"), "lets role:admin"),
    ("BreakGlass.ticket", rule("break_glass: {ticket: required}"), rule(), "without a ticket"),
    (
        "BreakGlass.review_within",
        rule("break_glass: {review_within: 1h}"),
        rule("break_glass: {review_within: 2h}"),
        "up to 2h",
    ),
    ("BreakGlass.review_within", rule("break_glass: {review_within: 1h}"), rule(), "up to 1d"),
    ("BreakGlass.review_within", rule(), rule("break_glass: {review_within: 7d}"), "up to 7d"),
    # The default holds only where no rule sets a time: one that is added can make it longer.
    (
        "BreakGlass.review_within",
        SENIOR,
        SENIOR + "  - {name: s, models: a, targets: [stage:Production], break_glass: {review_within: 7d}}\n",
        "Rule 's' lets a break-glass go without a review for longer, up to 7d",
    ),
    ("FreezeWindow.from", freeze("Fri 12:00", "Mon 08:00"), freeze("Fri 13:00", "Mon 08:00"), "'w'"),
    ("FreezeWindow.to", freeze("Fri 12:00", "Mon 08:00"), freeze("Fri 12:00", "Mon 07:59"), "'w'"),
    ("FreezeWindow.timezone", freeze("Fri 12:00", "Mon 08:00"), freeze("Fri 12:00", "Mon 08:00", "Asia/Tokyo"), "'w'"),
    ("FreezeWindow.from", freeze("Mon 00:00", "Mon 00:00"), freeze("Mon 00:01", "Mon 00:00"), "'w'"),
    ("Changes.approvals", changes("{required: 1, from: [group:a]}"), changes("{from: [group:b]}"), "from group:a"),
    # Who may change policies is given by admins; who is in a group, by every maintainer.
    ("Changes.approvals", rule(), changes("{required: 3, from: [group:a]}"), "A weaker policy needs 1 approval fewer"),
]

#: Where the strict one is no less strict than the weak one: all of the table but where they only differ.
DIFFERENT = {
    ("Policy.naming", 1), ("Policy.changes", 1), ("Policy.changes", 2), ("Rule.name", 0), ("Rule.models", 0), ("Rule.models", 1),
    ("Rule.models", 2), ("Gate.name", 0), ("Gate.expr", 0), ("Gate.expr", 1), ("Gate.check", 0),
    ("Gate.requires", 0), ("Gate.same_dataset", 0), ("Gate.when", 1), ("Requirements.run_tags", 0),
    ("SoakTime.target", 0), ("SameDataset.context", 0), ("Approvals.from", 0), ("Promote.by", 0),
    ("Rollback.by", 0), ("BreakGlass.by", 0), ("BreakGlass.review_within", 3), ("FreezeWindow.timezone", 0), ("Changes.approvals", 0),
    ("Changes.approvals", 1),
}  # fmt: skip


def _stricter() -> list[tuple[str, str, str]]:
    seen: dict[str, int] = {}
    found = []
    for setting, strict, weak, _ in TABLE:
        which = seen[setting] = seen.get(setting, -1) + 1
        if (setting, which) not in DIFFERENT:
            found.append((setting, weak, strict))
    return found


STRICTER = [
    *_stricter(),
    ("Rule.name", rule(name="r"), rule(name="other")),
    ("Rule.models", rule(models='"a-x"') + "  - {name: all, models: '*', targets: [stage:Production]}\n",
     rule(models='"a-*"') + "  - {name: all, models: '*', targets: [stage:Production]}\n"),
    ("Rule.models", rule(models='"a-*"'), rule(models='"a-*"') + "  - {name: n, models: a-b, targets: [stage:Production]}\n"),
    ("Rule.targets", rule(), rule(targets="[stage:Production, alias:c]")),
    ("Gate.name", gate("check: ci"), rule("gates: [{name: h, check: ci}]")),
    ("Gate.when", gate("check: ci, when: first"), CHECK),
    ("Gate.requires", gate("requires: {run_tags: [a]}"), REQUIRES),
    ("Approvals.from", rule("approvals: {required: 1}"), SENIOR),
    ("Approvals.required", rule("approvals: {required: 2, from: [group:a]}"),
     rule("approvals: [{required: 1, from: [group:a]}, {required: 1, from: [group:a]}]")),
    ("Promote.on", rule("promote: {on: approval}"), rule("promote: {by: [service:b]}")),
    ("Promote.by", rule("promote: {by: [service:a, service:b]}"), rule("promote: {by: [service:b]}")),
    ("Rollback.by", rule(), rule("rollback: {by: [group:a]}")),
    ("Rule.rollback", rule(), rule("rollback: {respects_freeze: false}")),
    ("Rule.break_glass", rule(), rule("break_glass: {ticket: optional, review_within: 24h}")),
    ("Rule.break_glass", rule("break_glass: {ticket: optional, review_within: 24h}"), rule()),
    ("Rule.expires_after", rule("expires_after: 7d"), rule()),
    ("FreezeWindow.from", freeze("Fri 12:00", "Mon 08:00"), freeze("Fri 11:00", "Mon 09:00")),
    ("FreezeWindow.timezone", freeze("Fri 12:00", "Mon 08:00"), freeze("Mon 00:00", "Mon 00:00", "Asia/Tokyo")),
    ("Changes.approvals", rule(), changes("{required: 1, from: [role:maintainer]}")),
    ("Changes.approvals", rule(), changes("{required: 2}")),
    ("Policy.rules", HEAD + "rules: []\n", rule("mode: audit")),
    ("Policy.rules", HEAD + "rules: []\n", TWO),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "strict", "weak", "says"), TABLE)
def test_what_is_weaker_is_named(setting: str, strict: str, weak: str, says: str) -> None:
    found = weakenings(read_policy(strict), read_policy(weak))
    assert any(says in sentence for sentence in found), found
    assert all(sentence.endswith(".") for sentence in found)


@pytest.mark.parametrize(("setting", "weak", "strict"), STRICTER)
def test_what_is_stricter_is_not(setting: str, weak: str, strict: str) -> None:
    assert weakenings(read_policy(weak), read_policy(strict)) == []


@pytest.mark.parametrize("source", sorted({source for _, *both, _ in TABLE for source in both}))
def test_a_policy_is_not_weaker_than_itself(source: str) -> None:
    assert weakenings(read_policy(source), read_policy(source + "# said again\n")) == []


def test_every_setting_is_in_the_table() -> None:
    settings = {
        f"{part.__name__}.{field.alias or name}" for part in _PARTS for name, field in part.model_fields.items()
    }
    # There is one version, and a window's name is for people.
    assert settings - {setting for setting, *_ in TABLE} == {"Policy.version", "FreezeWindow.name"}


def test_rules_that_trade_their_names_are_the_same() -> None:
    one, other = "approvals: {required: 1}", "gates: [{name: g, check: ci}]"
    tail = "  - {{name: {}, models: '*', targets: [stage:Production], {}}}\n"
    before = HEAD + "rules:\n" + tail.format("a", one) + tail.format("b", other)
    after = HEAD + "rules:\n" + tail.format("b", one) + tail.format("a", other)
    assert weakenings(read_policy(before), read_policy(after)) == []


PATTERN = st.text(alphabet="ab-*?[]", min_size=1, max_size=8)


@given(PATTERN, PATTERN, st.text(alphabet="ab-", max_size=8))
def test_a_pattern_within_another_matches_nothing_more(pattern: str, other: str, name: str) -> None:
    if pattern_within(pattern, {other}) and fnmatchcase(name, pattern):
        assert fnmatchcase(name, other)


MAX, MIA, ANN = (
    Principal(i, n, bindings=(RoleBinding(Role.MAINTAINER),)) for i, n in enumerate(("max", "mia", "ann"), 1)
)
SUE = Principal(4, "sue", groups=frozenset({"senior"}), bindings=(RoleBinding(Role.REVIEWER),))
BOT = Principal(5, "bot", Kind.SERVICE, bindings=(RoleBinding(Role.MAINTAINER),), owner="mia")
GONE = Principal(6, "gone", active=False, bindings=(RoleBinding(Role.ADMIN),))
SENIORS = read_policy(changes("{required: 1, from: [group:senior]}")).changes
PAIR = read_policy(changes("[{required: 1, from: [group:senior]}, {required: 1}]")).changes


@pytest.mark.parametrize(
    ("proposer", "approvers", "demands", "missing"),
    [
        (MAX, [], None, ["1 more approval from role:maintainer or role:admin; not from max"]),
        (MAX, [MIA], None, []),
        (MAX, [MAX], None, ["1 more approval"]),
        (MAX, [BOT], None, ["1 more approval"]),
        (MAX, [GONE], None, ["gone's approval no longer counts"]),
        (MAX, [SUE], None, ["1 more approval"]),
        (BOT, [MIA], None, ["1 more approval"]),
        (BOT, [ANN], None, []),
        (MAX, [MIA], SENIORS, ["from group:senior"]),
        (MAX, [SUE], SENIORS, []),
        (MAX, [SUE], PAIR, ["from role:maintainer or role:admin"]),
        (MAX, [SUE, MIA], PAIR, []),
    ],
)  # fmt: skip
def test_who_approves_a_change(proposer, approvers, demands, missing) -> None:
    found = missing_approvals(proposer, approvers, demands)
    assert len(found) == len(missing)
    assert all(says in sentence for says, sentence in zip(missing, found, strict=True)), found


def test_why_somebody_may_not_approve() -> None:
    assert "service account" in str(why_not_approve(BOT, MAX, None))
    assert "not active" in str(why_not_approve(GONE, MAX, None))
    assert "answers for bot" in str(why_not_approve(MIA, BOT, None))
    assert "none of those who approve policies: group:senior" in str(why_not_approve(MIA, MAX, SENIORS))
