"""What `lockgate ci` makes of what it reads, and of a server that is away."""

import json
import os
import subprocess
import time
from typing import Any

import click
import httpx
import pytest

from lockgate.cli import ci_wait, patience
from lockgate.cli.ci_output import as_dotenv, as_github_output, deployable
from lockgate.cli.ci_wait import Goal, TimedOut, is_reached
from lockgate.cli.duration import Duration, spoken
from lockgate.cli.job import job_url
from lockgate.cli.progress import Progress, one_line
from lockgate.cli.waiting import call_when_hashed, wait_until_hashed
from lockgate.client import connection
from lockgate.client.connection import Connection, Unreachable
from lockgate.client.job_token import JobToken
from lockgate.errors import BadInput, Conflict, Refused, Unauthenticated
from tests.house import SCRIPTS, free_port
from tests.receivers import Behaviour, Receiver, status

REQUEST: dict[str, Any] = {
    "id": 7, "model": "fraud", "version": "3", "target": "alias:champion", "state": "open", "outcome": "",
    "unmet": ["One more approval."], "url": "http://localhost/lockgate/requests/7", "hashing": "12 of 40 files",
}  # fmt: skip
HOLDER = {
    "model": "fraud detector", "version": "3", "target": "alias:champion", "source": "s3://models/1/model",
    "evidence_digest": None,
}  # fmt: skip


def test_help_is_quick_and_imports_no_mlflow() -> None:
    began = time.monotonic()
    told = subprocess.run(
        [str(SCRIPTS / "lockgate"), "ci", "--help"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
    )  # fmt: skip
    assert "deployed" in told.stdout
    assert " mlflow" not in told.stderr
    # Half a second where nothing else runs.
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("job", "url"),
    [
        ({"CI_JOB_URL": "https://gitlab.example.com/j/1"}, "https://gitlab.example.com/j/1"),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "9"},
            "https://github.com/a/b/actions/runs/9",
        ),
        ({"GITHUB_SERVER_URL": "https://github.com", "GITHUB_RUN_ID": "9"}, None),
        ({"BUILD_URL": "http://jenkins.example.com/job/1/"}, "http://jenkins.example.com/job/1/"),
        ({"BUILD_URL": "javascript:alert(1)"}, None),
        ({"CI_JOB_URL": "https://x/" + "y" * 2_000}, None),
        ({}, None),
    ],
)
def test_the_page_of_the_job(job: dict[str, str], url: str | None) -> None:
    assert job_url(job) == url


@pytest.mark.parametrize(
    ("state", "approved", "promoted"),
    [
        ("open", False, False),
        ("approved", True, False),
        ("promoted", True, True),
        ("rejected", None, None),
        ("withdrawn", None, None),
        ("expired", None, None),
        ("superseded", None, None),
    ],
)
def test_what_each_state_is_to_who_waits(state: str, approved: bool | None, promoted: bool | None) -> None:
    for goal, expected in ((Goal.APPROVED, approved), (Goal.PROMOTED, promoted)):
        found = {**REQUEST, "state": state, "outcome": "its time was over"}
        if expected is None:
            with pytest.raises(Refused, match=f"request 7 is {state}: its time was over"):
                is_reached(found, goal)
        else:
            assert is_reached(found, goal) is expected


def test_a_dotenv_file() -> None:
    assert as_dotenv(deployable(HOLDER), "MODEL") == (
        "MODEL_NAME=fraud detector\nMODEL_VERSION=3\nMODEL_TARGET=alias:champion\n"
        "MODEL_URI=models:/fraud detector/3\nMODEL_SOURCE=s3://models/1/model\nMODEL_DIGEST=\n"
    )


@pytest.mark.parametrize(
    "name", ["a\nCI_TOKEN=x", "a\rb", " a", "a ", "a$CI_TOKEN", "a'b", 'a"b', "a#b", "a\\nb", "a\u2028b", "a\tb"]
)
def test_what_a_dotenv_file_would_change_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="--format json"):
        as_dotenv(deployable({**HOLDER, "model": name}), "MODEL")


def test_outputs_for_github_hold_whatever_the_values_hold() -> None:
    ends = iter(f"end{n}" for n in range(9))
    text = as_github_output({"name": "a\nversion<<x\n9\nx", "version": "3"}, lambda: next(ends))
    assert text == "name<<end0\na\nversion<<x\n9\nx\nend0\nversion<<end1\n3\nend1\n"
    first, second = (as_github_output({"a": "b"}).split("\n")[0] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7_200), ("7d", 604_800)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds
    assert spoken(seconds) == text


@pytest.mark.parametrize("text", ["", "2", "h", "0s", "-1h", "1.5h", "2w", "٢h", "2h "])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="30s, 15m, 2h or 7d"):
        Duration().convert(text, None, None)


def test_what_people_wrote_is_one_line_of_text() -> None:
    assert one_line("a\n::error::b\x1b[31m ##[add-path]c") == "a ::error::b [31m ## [add-path]c"


def test_progress_says_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for unmet in ("a", "a", "b"):
        progress.tell("open", unmet)
    assert capsys.readouterr().err == "open\n  - a\nopen\n  - b\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PATIENCE", 0.2)
    monkeypatch.setattr(connection, "_PATIENCE_AT_A_CLOSED_DOOR", 0.1)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE", 0.05)


def answers(code: int, body: bytes) -> Behaviour:
    """Answer and hang up: a connection of the command's ends with the command."""
    return status(code, body, connection="close")


def lockgate(receiver: Receiver) -> Connection:
    return Connection(receiver.url.removesuffix("/hook"), {})


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("code", [502, 503, 504])
def test_waiting_outlives_a_load_balancer_without_a_server(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    until = time.monotonic() + 1

    def balance(visit: Any) -> None:
        approved = json.dumps({**REQUEST, "state": "approved"}).encode()
        answers(code, b"<html>")(visit) if time.monotonic() < until else answers(200, approved)(visit)

    with Receiver(balance) as balancer:
        assert ci_wait.wait(lockgate(balancer), 7, Goal.APPROVED, 60)["state"] == "approved"
    assert f"answered {code}" in capsys.readouterr().err


@pytest.mark.usefixtures("hasty")
def test_who_waits_at_a_wrong_address_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ci_wait, "_FIRST_ANSWER_SECONDS", 0.3)
    with pytest.raises(Unreachable, match="MLFLOW_TRACKING_URI right"):
        ci_wait.wait(Connection(f"http://127.0.0.1:{free_port()}", {}), 7, Goal.APPROVED, 7_200)


@pytest.mark.usefixtures("hasty")
def test_waiting_has_an_end() -> None:
    with Receiver(answers(200, json.dumps(REQUEST).encode())) as receiver, pytest.raises(TimedOut) as over:
        ci_wait.wait(lockgate(receiver), 7, Goal.PROMOTED, 1)
    assert "was not promoted within 1s; it is open" in over.value.message
    assert "One more approval." in over.value.message


def test_pauses_between_calls_are_bounded() -> None:
    waits = [pause for pause, _ in zip(patience.pauses(), range(30), strict=False)]
    assert (waits[0], waits[-1]) == (0.5, 15.0)


def test_waiting_for_files_to_be_hashed_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockgate.cli.waiting._LONGEST_SECONDS", 0)

    def refuse() -> None:
        raise Conflict("12 of 40 files are hashed.", retry=True)

    with pytest.raises(Conflict, match=r"not hashed within 0 minutes\. 12 of 40 files"):
        call_when_hashed(refuse)
    with pytest.raises(Conflict, match="not hashed within 0 minutes"):
        wait_until_hashed(REQUEST)


def test_a_jobs_token_is_asked_for_anew_before_it_ends() -> None:
    now = [0.0]
    with Receiver(answers(200, b'{"value": "of-this-job"}')) as github, Receiver(answers(200, b"{}")) as server:
        auth = JobToken(f"{github.url}?v=2", "shown", "lockgate", lambda: now[0])
        with httpx.Client(auth=auth) as client:
            for moment in (0.0, 60.0, 119.0, 121.0, 122.0):
                now[0] = moment
                client.get(server.url)
        assert [one.target for one in github.requests] == ["/hook?v=2&audience=lockgate"] * 2
        assert {one.headers["authorization"] for one in server.requests} == {"Bearer of-this-job"}


@pytest.mark.parametrize("answer", [status(403), status(200, b"no"), status(200, b"{}")])
def test_a_job_that_gets_no_token_says_so(answer: Any) -> None:
    with (
        Receiver(answer) as github,
        httpx.Client(auth=JobToken(github.url, "x", "y")) as client,
        pytest.raises(Unauthenticated, match="GitHub gave this job no token"),
    ):
        client.get(github.url)


def test_a_job_that_may_have_no_token_is_told_what_it_needs() -> None:
    with pytest.raises(Unauthenticated, match="id-token: write"):
        JobToken.from_environment({"LOCKGATE_OIDC_AUDIENCE": "x"})
    assert JobToken.from_environment({}) is None
