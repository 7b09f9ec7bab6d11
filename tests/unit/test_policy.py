"""The policy file: what it allows, and what it says of what it doesn't."""

import pytest

from lockgate.errors import BadInput
from lockgate.gates.document import DEFAULT_POLICY, read_policy
from lockgate.promotions.target import Target

CONTRACT = """\
version: 1
naming: "{domain}-{team}-{use_case}"
rules:
  - name: staging
    models: "*"
    targets: [stage:Staging]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.80"}
  - name: production
    models: "*"
    targets: [stage:Production, alias:champion]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.85"}
      - {name: no-regression, expr: "incumbent == null || metrics.val_auc >= incumbent.metrics.val_auc - 0.005"}
      - {name: documented, requires: {description: true, signature: true, run_tags: [data_version, git_commit]}}
      - {name: staging-validation, check: staging-validation}
      - {name: soaked, soak: {target: stage:Staging, for: 24h}}
    approvals: {required: 1, from: [group:senior]}
    promote: {by: [service:release-bot]}
    freeze:
      - {name: weekend, from: "Fri 12:00", to: "Mon 08:00", timezone: Europe/Berlin}
    expires_after: 7d
    rollback: {by: [role:operator]}
"""

PRODUCTION = Target("stage", "Production")
CHAMPION = Target("alias", "champion")


def rule(lines: str) -> str:
    """A policy of one rule with some lines more; they begin at line 6."""
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return f'version: 1\nrules:\n  - name: r\n    models: "*"\n    targets: [stage:Production]\n{body}'


def test_the_whole_file_of_the_contract_is_read() -> None:
    policy = read_policy(CONTRACT)
    assert [r.name for r in policy.rules] == ["staging", "production"]
    production = policy.rules[1]
    assert production.targets == (PRODUCTION, CHAMPION)
    assert production.expires_after.days == 7
    assert str(production.freeze[0].from_) == "Fri 12:00"
    assert production.gates[4].soak is not None
    assert production.gates[4].soak.for_.total_seconds() == 24 * 3600


def test_the_default_protects_production_and_champion_with_one_approval() -> None:
    policy = read_policy(DEFAULT_POLICY)
    for target in (PRODUCTION, CHAMPION):
        (applies,) = policy.rules_for("anything", target)
        assert applies.approvals[0].required == 1
    assert not policy.protects(Target("stage", "Staging"))
    assert not policy.protects(Target("alias", "challenger"))


def test_no_rules_protect_nothing() -> None:
    policy = read_policy("version: 1\nrules: []\n")
    assert not policy.protects(PRODUCTION)
    assert policy.rules_for("m", PRODUCTION) == ()


def test_a_target_is_closed_to_models_that_no_rule_covers() -> None:
    policy = read_policy(CONTRACT.replace('models: "*"', 'models: "payments-*"'))
    assert policy.protects(CHAMPION)
    assert policy.rules_for("other", CHAMPION) == ()
    assert len(policy.rules_for("payments-x-y", CHAMPION)) == 1


def test_rules_add_up() -> None:
    policy = read_policy(CONTRACT.replace("[stage:Staging]", "[stage:Staging, stage:Production]"))
    assert [r.name for r in policy.rules_for("m", PRODUCTION)] == ["staging", "production"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (rule("approvals: {required: many}"), 6, "whole number"),
        (rule("approvals: {required: -1}"), 6, "greater than or equal to 0"),
        (rule("approvals: {required: 1, from: [senior]}"), 6, "group:NAME"),
        (rule("approvals: {required: 1, from: ['role:boss']}"), 6, "Roles: viewer"),
        (rule("gates:\n  - {name: g, expr: 'metrics.auc >='}"), 7, "not CEL"),
        (rule("gates:\n  - {name: g, expr: 'metric.auc > 1'}"), 7, "may use metrics, params"),
        (rule("gates:\n  - {name: g}"), 7, "exactly one of: expr, check, requires, soak"),
        (rule("gates:\n  - {name: g, check: a, expr: 'true'}"), 7, "exactly one of"),
        (rule("gates:\n  - {name: g, check: a}\n  - {name: g, check: b}"), 3, "more than one gate is called 'g'"),
        (rule("gates:\n  - {name: g, soak: {target: stage:Staging, for: 24}}"), 7, "30s, 15m, 24h or 7d"),
        (rule("gates:\n  - {name: g, requires: {descripton: true}}"), 7, "no such setting"),
        (rule("expires_after: 0d"), 6, "24h or 7d"),
        (rule("promote: {on: merge}"), 6, "must be 'approval'"),
        (rule("promote: {by: ['service:bot'], on: approval}"), 6, "either"),
        (rule("promote: {by: []}"), 6, "either"),
        (rule("rollback: {by: []}"), 6, "at least 1"),
        (rule("freeze:\n  - {name: w, from: 'Friday', to: 'Mon 08:00'}"), 7, "'Fri 12:00'"),
        (rule("freeze:\n  - {name: w, from: 'Fri 25:00', to: 'Mon 08:00'}"), 7, "'Fri 12:00'"),
        (rule("freeze:\n  - {name: w, from: 'Fri 12:00', to: 'Mon 08:00', timezone: Berlin}"), 7, "Europe/Berlin"),
        (rule("color: red"), 6, "no such setting"),
        (rule("approval: {required: 1}"), 6, "did you mean `approvals`?"),
        (rule("approvals: {requires: 1}"), 6, "did you mean `required`"),
        (rule("name: again"), 6, "stands here twice"),
        ("version: 2\nrules: []\n", 1, "must be 1"),
        ("version: 1\n", 1, "missing"),
        ("version: 1\nrules:\n  - name: r\n    models: '*'\n    targets: [stage:Prod]\n", 5, "no stage to promote to"),
        ("version: 1\nrules:\n  - name: r\n    models: '*'\n    targets: [alias:v1]\n", 5, "reserved"),
        ("version: 1\nrules:\n  - name: r\n    models: '*'\n    targets: [Production]\n", 5, "no target"),
        ("version: 1\nrules:\n  - name: r\n    models: []\n    targets: [stage:Production]\n", 4, "at least 1"),
        ("version: 1\nrules:\n  - name: r\n    models: *all\n", 4, "quote a name with *"),
        ("version: 1\nrules: [\n", 3, "not YAML"),
        ('version: 1\nnaming: "models"\nrules: []\n', 1, "placeholders in braces"),
    ],
)
def test_errors_name_the_line_and_what_is_allowed(text: str, line: int, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_policy(text)
    assert f"line {line}:" in refused.value.message, refused.value.message
    assert says in refused.value.message, refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "42",
        "version: 1\nrules: 7\n",
        "\0",
        "a: " + "[" * 5000,
        "x" * 300_000,
        "\ud800",
        "version: !!python/object:os.system 1",
        "rules: !foo []",
        "{[a]: b}",
        "version: 2024-99-99",
        "rules: [{<<: 3}]",
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadInput):
        read_policy(text)


@pytest.mark.parametrize(
    "text",
    ["{" * 6000, "[" * 6000, "[" * 31 + "]" * 31, "# " + "]" * 40 + "\n" + "[" * 31 + "]" * 31, '["]",' * 6000],
    ids=["braces", "brackets", "one too many", "closed in a comment", "closed in strings"],
)
def test_what_is_nested_too_deeply_is_refused_before_it_is_read(text: str) -> None:
    with pytest.raises(BadInput, match="nested too deeply"):
        read_policy(text)


def test_brackets_in_comments_and_strings_nest_nothing() -> None:
    deep = "[" * 40
    text = f"# {deep}\n" + rule(f"gates: [{{name: g, expr: \"tags.a == '{deep}'\"}}]")
    assert deep in str(read_policy(text).rules[0].gates[0].expr)


def test_names_of_new_models_must_fit_the_naming() -> None:
    policy = read_policy(CONTRACT)
    policy.check_name("payments-fraud-transaction-scorer")
    with pytest.raises(BadInput, match="domain-team-use-case"):
        policy.check_name("fraud")


def test_whom_a_policy_names() -> None:
    policy = read_policy(
        rule(
            "approvals: {required: 1, from: [group:senior, user:ada]}\n"
            "promote: {by: [service:bot]}\n"
            "rollback: {by: [role:operator]}\n"
            "gates:\n  - {name: ci, check: ci, from: service:ci}"
        )
        + "changes:\n  approvals: {required: 1, from: group:risk}\n"
    )
    named = {"group:senior", "user:ada", "service:bot", "role:operator", "service:ci", "group:risk"}
    assert {str(one) for one in policy.named()} == named
