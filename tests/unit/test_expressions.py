"""Gate expressions: what they come to, and what they say of it."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.errors import BadInput
from lockgate.gates import sandbox
from lockgate.gates.evaluation import Outcome
from lockgate.gates.expression import MAX_DATA, MAX_LENGTH, MAX_NESTING, VARIABLES, check_expression, evaluate
from lockgate.gates.sandbox import Sandbox


def variables(**given: Any) -> dict[str, Any]:
    return {
        "metrics": {"val_auc": 0.9, "val_size": 114.0},
        "params": {"n_estimators": "100"},
        "tags": {"data_version": "v1"},
        "version": {"number": 3, "tags": {}, "description": "", "created_at": 0},
        "model": {"name": "m", "tags": {}},
        "incumbent": None,
        "requester": "ada",
        "checks": {},
        "datasets": [{"name": "loans", "digest": "d1", "context": "training"}],
        "artifacts": {"state": "sealed", "digest": "sha256:1", "files": 3, "bytes": 1000},
        "now": None,
        **given,
    }


INCUMBENT = {"metrics": {"val_auc": 0.95}}
REGRESSION = "incumbent == null || metrics.val_auc >= incumbent.metrics.val_auc - 0.005"


@pytest.mark.parametrize(
    ("text", "given", "value", "says"),
    [
        ("metrics.val_auc >= 0.85", {}, True, "metrics.val_auc is 0.9"),
        ("metrics.val_auc >= 0.95", {}, False, "metrics.val_auc >= 0.95 does not hold: metrics.val_auc is 0.9"),
        ("metrics.val_size >= 100", {}, True, "metrics.val_size is 114"),
        ("metrics.f1 >= 0.5", {}, False, "metrics.f1 is missing"),
        ("metrics['val_auc'] > 1.0", {}, False, "metrics['val_auc'] is 0.9"),
        ("tags.git_commit != ''", {}, False, "tags.git_commit is missing"),
        (REGRESSION, {}, True, "there is no incumbent"),
        (REGRESSION, {"incumbent": INCUMBENT}, False, "incumbent.metrics.val_auc is 0.95"),
        (REGRESSION, {"incumbent": {"metrics": {}}}, False, "incumbent.metrics.val_auc is missing"),
        ("version.number > 2", {}, True, "version.number is 3"),
        ("requester == 'ada'", {}, True, "requester is 'ada'"),
        ("params.n_estimators > 50", {}, None, "could not be evaluated"),
        ("1 / 0 == 1", {}, None, "could not be evaluated"),
        ("metrics.val_auc", {}, None, "neither true nor false"),
        ("checks.shadow.metrics.lift > 0.0", {}, False, "checks.shadow.metrics.lift is missing"),
        ("['a', 'b'].all(x, x != 'c')", {}, True, "holds"),
        ("has(metrics.f1)", {}, False, "does not hold"),
        ("tags.data_version == 'metrics.f1'", {}, False, "tags.data_version is 'v1'"),
        ("tags.data_version == 'metrics.val_auc'", {}, False, "does not hold: tags.data_version is 'v1'"),
        ("tags.data_version.startsWith('v2')", {}, False, "tags.data_version is 'v1'"),
        ("tags.data_version.matches('^v[0-9]+$')", {}, True, "tags.data_version is 'v1'"),
        ("tags.data_version.matches('(')", {}, None, "not a valid regex"),
        ("metrics.val_size >= 100 && metrics.val_auc < 1", {}, True, "metrics.val_auc is 0.9"),
        ("metrics.val_auc == 1", {"metrics": {"val_auc": 1.0}}, True, "metrics.val_auc is 1"),
        ("metrics.val_auc * 2 > 1.0", {}, None, "float * int"),
        ("metrics.val_auc * 2.0 > 1.0", {}, True, "metrics.val_auc is 0.9"),
        ("metrics.val_auc - 0.1 > double(version.number)", {}, False, "version.number is 3"),
        ("metrics.val_auc > 0.5", {"metrics": {"val_auc": float("nan")}}, None, "metrics.val_auc is not a number"),
        ("metrics.val_auc < 0.5", {"metrics": {"val_auc": float("inf")}}, False, "metrics.val_auc is inf"),
        ("int(params.n_estimators) > 50", {}, True, "params.n_estimators is '100'"),
        ("int(params.n_estimators) > 50", {"params": {"n_estimators": "many"}}, None, "is 'many'"),
        ("[1, 2][5] == 1", {}, None, "index out of bounds"),
        ("size(params) > 1", {}, False, "params has 1 entry"),
        ("metrics.all(k, metrics[k] > 0.5)", {}, True, "metrics has 2 entries"),
        ("metrics.all(k, metrics[k] > 1.0)", {}, False, "metrics has 2 entries"),
        ("metrics.exists_one(k, k.startsWith('val_auc'))", {}, True, "metrics has 2 entries"),
        ("metrics.filter(k, k.endsWith('c')).size() == 1", {}, True, "metrics has 2 entries"),
        ("metrics.map(k, metrics[k])", {}, None, "is a list of 2, neither true nor false"),
        ("params.all(k, params['f1'] == k)", {}, False, "params['f1'] is missing"),
        ("datasets.exists(d, d.context == 'training')", {}, True, "datasets has 1 entry"),
        ("artifacts.state == 'sealed' && artifacts.files > 5", {}, False, "artifacts.files is 3"),
        ("now > timestamp('2020-01-01T00:00:00Z')", {"now": datetime(2026, 1, 1, tzinfo=UTC)}, True, "holds"),
        ("params.all(k, true) ? incumbent.x : true", {}, False, "there is no incumbent"),
    ],
)
def test_results_explain_themselves(text: str, given: dict[str, Any], value: bool | None, says: str) -> None:
    result = evaluate(check_expression(text), variables(**given))
    assert result.value is value
    assert says in result.explanation


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metrics.",
        "nope > 1",
        "x",
        "metrics.a > 1 and true",
        "true" + " || true" * MAX_LENGTH,
        "[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))",
        "(" * 900,
        "[" * 900,
        "!" * 900,
        "(" * (MAX_NESTING + 1) + "true" + ")" * (MAX_NESTING + 1),
        "[1].all(x, " * 80 + "true" + ")" * 80,
        "tags.a.replace('', tags.a) == ''",
        "nope(1)",
        "optional.of(1).hasValue()",
    ],
)
def test_what_can_not_be_evaluated_is_refused_beforehand(text: str) -> None:
    with pytest.raises(BadInput):
        check_expression(text)


@given(st.text(max_size=60))
def test_checking_never_fails_otherwise(text: str) -> None:
    try:
        check_expression(text)
    except BadInput:
        return
    evaluate(text, variables())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_do_not_pass_a_floor(value: float) -> None:
    result = evaluate("metrics.val_auc >= 0.85", variables(metrics={"val_auc": value}))
    assert result.value is (True if value == float("inf") else False if value == float("-inf") else None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tags.a.split(',').size() > 1", "there is no function 'split'; use matches"),
        ("max(metrics.a, metrics.b) > 1", "there is no function 'max'; use all or exists"),
        ("(" * 40 + "true" + ")" * 40, "may nest 32 brackets; this one nests 40"),
        ("[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))", "this one uses 4"),
    ],
)
def test_a_refusal_says_what_to_do_instead(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says.replace("(", r"\(").replace(")", r"\)")):
        check_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "!" * 996 + "true",
        "-" * 990 + "1 > 0",
        "- " * 490 + "1 > 0",
        "(" * MAX_NESTING + "true" + ")" * MAX_NESTING,
        "true" + " && true" * 120,
        "true?" + "true:true?" * 60 + "true:true",
        "1" + "+1" * 490 + " > 0",
        "true" + "==true" * 160,
        "metrics" + ".a" * 480 + " > 0",
        "metrics" + "['a']" * 190 + " > 0",
    ],
)
def test_long_chains_do_not_end_the_process(text: str) -> None:
    # Whether CEL takes them or not; evaluating comes to something even for what is no CEL.
    assert evaluate(text, variables()).explanation


MANY = {f"param_{number}": "v" * 20 for number in range(5_000)}
HUGE = "a" * 5_000_000
DOUBLED = "(tags.a+tags.a)"
for _ in range(5):
    DOUBLED = f"({DOUBLED}+{DOUBLED})"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        (
            "params.all(a, params.all(b, params.all(c, a != b || b != c || a == c)))",
            {"params": MANY},
            "bytes): it took longer than 1 s, so it counts as failed",
        ),
        ("params.map(a, params.map(b, a + b)).size() > 0", {"params": MANY}, "counts as failed"),
        ("params.all(k, !k.matches('(a{500}){100}b'))", {"params": MANY}, "took longer than 1 s"),
        ("tags.a.matches('(a{1000}){100}b')", {"tags": {"a": HUGE}}, "took longer than 1 s"),
        (
            "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(x, " + "+".join(["tags.a"] * 40) + ").size() > 0",
            {"tags": {"a": HUGE}},
            "",
        ),
        ("+".join(["tags.a"] * 120) + " == ''", {"tags": {"a": HUGE}}, "counts as failed"),
        ("incumbent == null && " + "+".join(["tags.a"] * 120) + " == ''", {"tags": {"a": HUGE}}, "counts as failed"),
        (
            DOUBLED + " == ''",
            {"tags": {"a": HUGE}},
            "over 1 tag (5,000,165 bytes): it ",
        ),
        ("tags.a == ''", {"tags": {"a": "x" * (MAX_DATA + 1)}}, "more than 16,777,216"),
    ],
)
def test_what_takes_too_much_is_an_error_and_the_next_one_is_not(text: str, given: dict[str, Any], says: str) -> None:
    result = evaluate(check_expression(text), variables(**given))
    assert result.value is None
    assert says in result.explanation
    assert len(result.explanation) < 2_000
    assert evaluate("metrics.all(k, metrics[k] > 0.5)", variables()).value is True


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("metrics.all(a, metrics.exists(b, metrics[a] >= metrics[b]))", {}),
        ("metrics.map(k, metrics[k]).exists(v, v > 498.0)", {}),
        ("params.all(k, params[k] != '')", {"params": MANY}),
        ("tags.a.contains('b') || tags.a.size() == 5000000", {"tags": {"a": HUGE}}),
        ("params.all(k, k.matches('^param_[0-9]+$'))", {"params": MANY}),
    ],
)
def test_what_is_within_reason_is_evaluated(text: str, given: dict[str, Any]) -> None:
    metrics = {f"metric_{number}": float(number) for number in range(500)}
    assert evaluate(check_expression(text), variables(metrics=metrics, **given)).value is True


def test_values_are_quoted_in_part() -> None:
    said = evaluate("tags.a == ''", variables(tags={"a": HUGE})).explanation
    assert said.endswith("… (5,000,000 characters)")
    assert len(said) < 200


def test_a_dozen_values_are_shown() -> None:
    metrics = {f"m{number}": float(number) for number in range(20)}
    text = " && ".join(f"metrics.m{number} >= 0" for number in range(20))
    assert evaluate(text, variables(metrics=metrics)).explanation.endswith("metrics.m11 is 11, and 8 more")


NAMES = st.sampled_from(VARIABLES) | st.sampled_from(
    ["metrics.val_auc", "tags.a", "params.n_estimators", "x", "'a'", "1"]
)
OPERATORS = st.sampled_from([" + ", " == ", " > ", " in ", " && ", " - ", " ? 1 : "])


def _longer(shorter: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({}{}{})".format, shorter, OPERATORS, shorter),
        st.builds("{}.{}(x, {})".format, shorter, st.sampled_from(["all", "exists", "map", "filter"]), shorter),
        st.builds("{}({})".format, st.sampled_from(["size", "string", "int", "!", "-", "has", "bytes"]), shorter),
        st.builds("{}.{}({})".format, shorter, st.sampled_from(["matches", "contains", "startsWith"]), shorter),
        st.builds("[{}, {}]".format, shorter, shorter),
    )


@given(st.recursive(NAMES, _longer, max_leaves=8))
@settings(deadline=None, max_examples=50)
@pytest.mark.timeout(120)
def test_any_expression_over_much_data_comes_to_an_end(text: str) -> None:
    try:
        checked = check_expression(text)
    except BadInput:
        return
    result = evaluate(checked, variables(params=MANY, tags={"a": HUGE}))
    assert (
        result.explanation.startswith((checked, "params", "tags", "metrics", "incumbent"))
        or "missing" in result.explanation
    )
    assert len(result.explanation) < 4_000


def test_expressions_take_turns() -> None:
    results: list[bool | None] = []

    def ask() -> None:
        results.extend(evaluate("metrics.all(k, metrics[k] > 0.5)", variables()).value for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 160


def test_a_sandbox_that_was_killed_is_started_again() -> None:
    box = Sandbox()
    try:
        assert box.run("true", {}) == Outcome("bool", value=True)
        assert box._process is not None
        box._process.kill()
        box._process.wait()
        assert box.run("true", {}) == Outcome("bool", value=True)
    finally:
        box.close()


def test_a_fork_does_not_share_the_sandbox() -> None:
    program = (
        "import os\n"
        "from lockgate.gates import sandbox\n"
        "ours = sandbox.run('1 < 2', {})\n"
        "if (pid := os.fork()) == 0:\n"
        "    theirs = sandbox.run('1 > 2', {})\n"
        "    sandbox._sandbox.close()\n"
        "    os._exit(0 if theirs.kind == 'bool' and not theirs.value else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert ours == sandbox.run('1 < 2', {})\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("busy", [False, True])
def test_a_killed_server_leaves_no_sandbox(busy: bool) -> None:
    program = (
        "import sys\n"
        "from lockgate.gates import sandbox\n"
        "sandbox.run('true', {})\n"
        "print(sandbox._sandbox._process.pid, flush=True)\n"
        + (
            "sandbox.run('l.all(a, l.all(b, l.all(c, a + b + c >= 0)))', {'l': list(range(5000))})"
            if busy
            else "input()"
        )
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        server.send_signal(signal.SIGKILL)
    gone = threading.Event()
    while _runs(child):
        gone.wait(0.05)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_sandbox_does_not_see_the_secrets_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_SECRET", "hush")
    process = sandbox._start()
    try:
        with open(f"/proc/{process.pid}/environ") as file:
            assert "LOCKGATE_SECRET" not in file.read()
    finally:
        process.kill()
        process.communicate()
    assert os.environ["LOCKGATE_SECRET"] == "hush"
