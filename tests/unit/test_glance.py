"""What events say of a request at a glance, and when a gate is told of."""

import pytest

from lockgate.decisions.verdict import failing_since, have_come_to_pass
from lockgate.events.event import EventType
from lockgate.events.glance import glance
from lockgate.events.wording import Gate, gates, paragraphs
from lockgate.evidence.record import Evidence
from lockgate.gates.judge import GateResult, Outcome
from tests.told import told

PASSED, FAILED, PENDING, ERROR = Outcome.PASSED, Outcome.FAILED, Outcome.PENDING, Outcome.ERROR
SHA = "0123456789abcdef0123456789abcdef01234567"


def gate(outcome: Outcome, name: str = "auc", rule: str = "production") -> GateResult:
    return GateResult(rule, name, outcome, "because")


def warning(outcome: Outcome) -> GateResult:
    return GateResult("production", "fresh", outcome, "because", mode="warn")


def evidence(**tags: str) -> Evidence:
    return Evidence(1, 0, tags=tags)


def test_an_event_says_how_gates_came_out_what_is_missing_and_which_commit() -> None:
    said = glance([gate(FAILED), warning(PENDING)], evidence(**{"mlflow.source.git.commit": SHA}), ["Something."])
    assert said == {
        "gates": [{"name": "auc", "outcome": "failed"}, {"name": "fresh", "outcome": "pending", "warns": True}],
        "unmet": ["Something."],
        "commit": SHA,
    }
    assert glance([], evidence()) == {}


def test_a_pipelines_own_tag_names_the_commit_where_mlflow_saw_none() -> None:
    assert glance([], evidence(git_commit=SHA.upper()))["commit"] == SHA
    both = {"mlflow.source.git.commit": SHA, "git_commit": "f" * 40}
    assert glance([], evidence(**both))["commit"] == SHA


@pytest.mark.parametrize("written", ["main", "", "../x", "a" * 65, "abc", f"{SHA}\nx"])
def test_what_is_no_commit_is_not_told_as_one(written: str) -> None:
    assert glance([], evidence(git_commit=written)) == {}


def test_the_audit_log_is_not_filled_by_it() -> None:
    said = glance([gate(FAILED, "x" * 900)] * 90, evidence(), ["y" * 900] * 90)
    assert len(said["gates"]) == 50
    assert len(said["unmet"]) == 20
    assert len(said["gates"][0]["name"]) == len(said["unmet"][0]) == 300


@pytest.mark.parametrize(
    ("before", "now", "failing", "passed"),
    [
        ((PASSED,), (FAILED,), 1, False),
        ((PENDING,), (FAILED,), 1, False),
        ((PENDING,), (ERROR,), 1, False),
        ((FAILED,), (ERROR,), 0, False),
        ((FAILED,), (FAILED,), 0, False),
        ((FAILED,), (PENDING,), 0, False),
        ((PASSED,), (PENDING,), 0, False),
        ((FAILED,), (PASSED,), 0, True),
        ((PENDING,), (PASSED,), 0, True),
        ((PASSED,), (PASSED,), 0, False),
        ((), (FAILED,), 0, False),
        ((), (PASSED,), 0, False),
        ((), (), 0, False),
    ],
)
def test_a_gate_is_told_of_once_it_fails_and_once_all_pass(
    before: tuple[Outcome, ...], now: tuple[Outcome, ...], failing: int, passed: bool
) -> None:
    earlier, later = [gate(one) for one in before], [gate(one) for one in now]
    assert len(failing_since(earlier, later)) == failing
    assert have_come_to_pass(earlier, later) is passed


def test_gates_are_told_apart_by_their_rule_too() -> None:
    before = [gate(FAILED, rule="one"), gate(PASSED, rule="two")]
    assert failing_since(before, [gate(FAILED, rule="one"), gate(FAILED, rule="two")]) == [gate(FAILED, rule="two")]


def test_gates_that_only_warn_are_no_news() -> None:
    assert failing_since([warning(PASSED)], [warning(FAILED)]) == []
    assert not have_come_to_pass([warning(FAILED)], [warning(PASSED)])


def test_people_see_first_what_failed_by_a_sign_and_by_word() -> None:
    after = {
        "gates": [
            {"name": "a", "outcome": "passed"},
            {"name": "b", "outcome": "pending", "warns": True},
            {"name": "c", "outcome": "failed"},
            {"name": "d", "outcome": "error"},
        ]
    }
    assert gates(told(EventType.REQUEST_OPENED, after=after)) == [
        Gate("✗", "failed", "c"),
        Gate("✗", "could not be judged", "d"),
        Gate("…", "pending (a warning)", "b"),
        Gate("✓", "passed", "a"),
    ]


def test_no_more_gates_are_shown_than_fit_a_glance() -> None:
    after = {"gates": [{"name": str(number), "outcome": "passed"} for number in range(50)]}
    shown = gates(told(EventType.REQUEST_OPENED, after=after))
    assert len(shown) == 11
    assert shown[-1] == Gate("…", "and more", "40")


def test_a_reason_is_shown_where_no_sentences_say_it_already() -> None:
    def plain(text: str, most: int) -> str:
        return text[:most]

    refused = told(EventType.PROMOTION_REFUSED, after={"unmet": ["One.", "Two."]}, reason="One. Two.")
    assert paragraphs(refused, plain) == [["By: bot"], ["• One.", "• Two."]]
    assert paragraphs(told(EventType.HELD, reason="Because."), plain) == [["By: bot"], ["Because."]]
