"""`lockgate ci`, run as a pipeline runs it, against a real server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BACKENDS
from tests.house import NO_RULES, ONE_APPROVAL, SCRIPTS, House
from tests.provider.town import AUDIENCE, Town
from tests.receivers import Receiver, status

PRODUCTION, CHAMPION = "stage:Production", "alias:champion"
#: Carries nothing out in the job that prints it.
COMMENT = "##[error]\n::add-mask::no"
JOB = {"CI_JOB_URL": "https://gitlab.example.com/acme/fraud/-/jobs/42"}


@contextmanager
def running(house: House, name: str, *arguments: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the command beside the test."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": house.uri, "MLFLOW_TRACKING_TOKEN": house.tokens[name]}
    with subprocess.Popen(
        [str(SCRIPTS / "lockgate"), "ci", *arguments],
        env={**environment, **variables}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def ci(house: House, name: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
    with running(house, name, *arguments, **variables) as process:
        return ended(process)


def checks_of(house: House, model: str) -> list[dict[str, Any]]:
    entries = house.call("admin", "GET", f"/audit?model={model}&max_results=200")["entries"]
    return [
        {**one["after"], "summary": one["reason"]} for one in reversed(entries) if one["action"] == "check.reported"
    ]


def heard(process: "subprocess.Popen[str]", words: str) -> str:
    """Read the log until it says something."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it ended without it: {said}")


# Waiting


def test_waiting_says_what_is_missing_and_ends_when_it_is_approved(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    asked = house.ask(model, "1", CHAMPION)
    with running(house, "ci", "wait", str(asked["id"]), "--timeout", "1m") as waiting:
        assert "needs 1 more approval" in heard(waiting, "approval")
        house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
        code, out, _ = ended(waiting)
    assert (code, out) == (0, f"Request {asked['id']}: {model} version 1 -> {CHAMPION}: approved\n")


def test_waiting_for_the_promotion_goes_on_after_the_approval(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    asked = house.ask(model, "1", CHAMPION)
    with running(
        house, "ci", "wait", "--model", model, "--target", CHAMPION, "--until", "promoted", "--json"
    ) as waiting:
        heard(waiting, "approval")
        house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
        heard(waiting, ": approved")
        assert waiting.poll() is None
        house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
        code, out, _ = ended(waiting)
    assert code == 0
    assert json.loads(out)["state"] == "promoted"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            lambda house, asked: _end(house, asked, "sue", "reject"),
            "is rejected: sue rejected it: ## [error] ::add-mask::no.",
        ),
        (lambda house, asked: _end(house, asked, "ada", "withdraw"), "is withdrawn"),
        (lambda house, asked: house.promote(asked["model"], "2", CHAMPION), "is superseded"),
        (
            lambda house, asked: house.sql(f"UPDATE lockgate_requests SET expires_at = 1 WHERE id = {asked['id']}"),
            "is expired: its time was over.",
        ),
    ],
    ids=["rejected", "withdrawn", "superseded", "expired"],
)
def test_what_ends_otherwise_fails_with_the_reason(
    house: House, end: Callable[[House, dict[str, Any]], None], reason: str
) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    asked = house.ask(model, "1", CHAMPION)
    with running(house, "ci", "wait", str(asked["id"])) as waiting:
        heard(waiting, "approval")
        end(house, asked)
        code, out, err = ended(waiting)
    assert (code, out) == (1, "")
    assert reason in err


def _end(house: House, asked: dict[str, Any], who: str, how: str) -> None:
    house.call(who, "POST", f"/requests/{asked['id']}/{how}", {"comment": COMMENT})


def test_the_time_that_is_over_has_a_sentence_of_its_own(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    asked = house.ask(house.new_model(), "1", CHAMPION)
    code, out, err = ci(house, "ci", "wait", str(asked["id"]), "--timeout", "1s")
    assert (code, out) == (1, "")
    assert "was not approved within 1s; it is open" in err
    assert "Still missing: Rule 'production' needs 1 more approval" in err


def test_who_waits_for_what_nobody_asked_for_is_told_how_to_ask(house: House) -> None:
    model = house.new_model()
    code, _, err = ci(house, "ci", "wait", "--model", model, "--target", CHAMPION, "--version", "1")
    assert code == 1
    assert f"lockgate ci request {model} 1 {CHAMPION}" in err


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_outlives_a_server_that_is_restarted(
    backend: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    with closing(House(tmp_path, new_database(backend))) as house:
        house.open()
        asked = house.ask(house.new_model(), "1", CHAMPION)
        with running(house, "ci", "wait", str(asked["id"]), "--timeout", "2m") as waiting:
            heard(waiting, "approval")
            house.server.stop()
            heard(waiting, "Trying again.")
            house.server.start()
            house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
            assert ended(waiting)[0] == 0


# Asking


def test_a_pipeline_that_runs_again_uses_the_request_that_is_open(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    first = ci(house, "ci", "request", model, "1", PRODUCTION)
    assert first[0] == 0
    number = int(first[1])
    assert "needs 1 more approval" in first[2]
    assert int(ci(house, "ci", "request", model, "1", PRODUCTION)[1]) == number
    house.call("sue", "POST", f"/requests/{number}/approve", {})
    assert int(ci(house, "ci", "request", model, "1", PRODUCTION, "--wait")[1]) == number
    house.call("bot", "POST", f"/requests/{number}/promote", {})
    code, out, err = ci(house, "ci", "request", model, "1", PRODUCTION, "--wait", "--until", "promoted")
    assert (code, out) == (0, "")
    assert "holds version 1 already" in err


# Checks


def test_a_command_is_run_as_a_check_with_the_jobs_page(house: House) -> None:
    model = house.new_model()
    code, out, err = ci(house, "ci", "check", "smoke", "--model", model, "--version", "1",
                        "--", sys.executable, "-c", "print('all is well')", **JOB)  # fmt: skip
    assert (code, out) == (0, "all is well\n"), err
    pending, done = checks_of(house, model)
    assert (pending["status"], done["status"]) == ("pending", "success")
    assert pending["url"] == done["url"] == JOB["CI_JOB_URL"]
    assert "succeeded after" in done["summary"]


def test_a_command_that_fails_fails_the_check_and_the_job_by_its_own_code(house: House) -> None:
    model = house.new_model()
    secret = "hunter2"
    code, _, _ = ci(house, "ci", "check", "smoke", "--model", model, "--version", "1", "--summary", "Staging:",
                    "--", "sh", "-c", f"exit 3 # {secret}")  # fmt: skip
    assert code == 3
    reported = checks_of(house, model)[-1]
    assert (reported["status"], reported["summary"].split(" after")[0]) == (
        "failure",
        "Staging: 'sh' ended with exit code 3",
    )
    assert secret not in str(checks_of(house, model))


def test_a_command_that_is_not_there_fails_the_check(house: House) -> None:
    model = house.new_model()
    code, _, _ = ci(house, "ci", "check", "smoke", "--model", model, "--version", "1", "--", "no-such-command")
    assert (code, checks_of(house, model)[-1]["status"]) == (127, "failure")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_stopped_reports_a_failure_and_stops_its_command(
    house: House, sent: signal.Signals, tmp_path: Path
) -> None:
    model = house.new_model()
    script = f"trap 'touch {tmp_path}/stopped; exit 0' TERM INT; echo begun; while true; do sleep 0.1; done"
    with running(house, "ci", "check", "smoke", "--model", model, "--version", "1", "--", "sh", "-c", script) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        job.send_signal(sent)
        code, _, _ = ended(job)
    assert code == 128 + sent
    assert (tmp_path / "stopped").exists()
    last = checks_of(house, model)[-1]
    assert (last["status"], last["summary"].split(")")[0]) == ("failure", f"The job was stopped ({sent.name}")


def test_a_result_is_not_said_of_a_version_that_changed_meanwhile(house: House) -> None:
    model = house.new_model()
    change = (
        f"import mlflow; mlflow.MlflowClient().set_model_version_tag({model!r}, '1', 'threshold', '0.1')"  # evidence
    )
    code, _, err = ci(house, "ci", "check", "smoke", "--model", model, "--version", "1",
                      "--", sys.executable, "-c", change)  # fmt: skip
    assert code == 1
    assert "evidence" in err
    assert [one["status"] for one in checks_of(house, model)] == ["pending"]


def test_without_a_command_a_status_is_reported(house: House) -> None:
    model = house.new_model()
    github = {
        "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/fraud", "GITHUB_RUN_ID": "7",
        "GITHUB_RUN_ATTEMPT": "2",
    }  # fmt: skip
    code, out, _ = ci(house, "ci", "check", "x", "--model", model, "--version", "1", "--status", "failure",
                      "--metric", "a=0.5", "--json", **github)  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert (found["status"], found["metrics"]) == ("failure", {"a": 0.5})
    assert found["details_url"] == "https://github.com/acme/fraud/actions/runs/7/attempts/2"


def test_no_command_is_run_if_the_check_may_not_be_reported(house: House, tmp_path: Path) -> None:
    model = house.new_model()
    mark = tmp_path / "ran"
    code, _, err = ci(house, "vic", "check", "smoke", "--model", model, "--version", "1", "--", "touch", str(mark))
    assert code == 1
    assert "vic" in err
    assert not mark.exists()


# What to deploy


def test_the_version_to_deploy_is_the_one_that_was_approved(house: House, tmp_path: Path) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    done = house.promote(model, "2", PRODUCTION)
    digest = done["evidence"]["digest"]
    source = house.call("ci", "GET", f"/models/{model}/holder?target={PRODUCTION}")["source"]
    output = tmp_path / "output"
    code, out, err = ci(house, "ci", "deployed", model, PRODUCTION, "--github-output", GITHUB_OUTPUT=str(output))
    assert code == 0, err
    assert out.splitlines() == [
        f"MODEL_NAME={model}",
        "MODEL_VERSION=2",
        f"MODEL_TARGET={PRODUCTION}",
        f"MODEL_URI=models:/{model}/2",
        f"MODEL_SOURCE={source}",
        f"MODEL_DIGEST={digest}",
    ]
    lines = output.read_text().splitlines()
    given = {lines[n].split("<<")[0]: lines[n + 1] for n in range(0, len(lines), 3)}
    assert (given["version"], given["digest"]) == ("2", digest)
    assert ci(house, "ci", "deployed", model, PRODUCTION, "--format", "version")[1] == "2\n"
    found = json.loads(ci(house, "ci", "deployed", model, PRODUCTION, "--format", "json")[1])
    assert (found["approved_by"], found["decision_id"]) == (["sue"], done["decision_id"])


def test_after_a_rollback_the_version_before_is_the_one_to_deploy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    digest = house.promote(model, "1", CHAMPION)["evidence"]["digest"]
    house.promote(model, "2", CHAMPION)
    house.call("oz", "POST", f"/models/{model}/rollback", {"target": CHAMPION, "reason": "it drifts"})
    _, out, _ = ci(house, "ci", "deployed", model, CHAMPION)
    assert "MODEL_VERSION=1\n" in out
    assert f"MODEL_DIGEST={digest}\n" in out


def test_what_nobody_holds_or_nobody_approved_is_not_deployed(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    code, out, err = ci(house, "ci", "deployed", model, CHAMPION)
    assert (code, out) == (1, "")
    assert f"No version of '{model}' holds {CHAMPION}" in err
    house.apply_policy(NO_RULES)
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "shadow", "1")
    assert ci(house, "ci", "deployed", model, "alias:shadow", "--format", "version")[1] == "1\n"
    house.apply_policy(ONE_APPROVAL.replace("alias:champion", "alias:shadow"))
    code, out, err = ci(house, "ci", "deployed", model, "alias:shadow")
    assert (code, out) == (1, "")
    assert "holds version 1, and nobody approved that (it was moved there while no rule protected it)" in err
    code, out, err = ci(house, "ci", "request", model, "1", "alias:shadow", "--wait", "--until", "promoted")
    assert (code, out) == (1, "")
    assert "nobody approved that" in err


def test_who_waits_for_a_promotion_after_which_others_came_does_not_go_on(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model(versions=2)
    house.promote(model, "1", PRODUCTION)
    waiting = ["wait", "--model", model, "--version", "1", "--target", PRODUCTION, "--until", "promoted"]
    assert ci(house, "ci", *waiting)[0] == 0
    house.promote(model, "2", PRODUCTION)
    code, _, err = ci(house, "ci", *waiting)
    assert code == 1
    assert "holds version 2 by now" in err


def test_a_name_that_mlflow_reads_as_another_address_is_not_deployed(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    model = house.new_model()
    hostile = f"{model}@x?"
    with house.acting_as("ada") as client:
        client.rename_registered_model(model, hostile)
    house.promote(hostile, "1", PRODUCTION)
    code, out, err = ci(house, "ci", "deployed", hostile, PRODUCTION)
    assert (code, out) == (1, "")
    assert "question mark" in err


def test_what_one_may_not_see_is_not_there(house: House) -> None:
    model = house.new_model()
    narrow = {"name": f"narrow-{model}", "kind": "service", "roles": ["viewer:other-*"], "owner": "vic"}
    house.call("admin", "POST", "/principals", narrow)
    house.tokens["narrow"] = house.call("admin", "POST", "/tokens", {"principal": narrow["name"]})["token"]
    code, _, err = ci(house, "narrow", "deployed", model, CHAMPION)
    assert code == 1
    assert "not found" in err


# Who the job is


def test_a_job_of_githubs_shows_its_platforms_own_token(town: Town) -> None:
    token = town.platform.token("x", aud=AUDIENCE, repository="acme/fraud", ref="refs/heads/main")
    model = town.house.new_model()
    with Receiver(status(200, json.dumps({"value": token}).encode())) as github:
        job = {
            "LOCKGATE_OIDC_AUDIENCE": AUDIENCE,
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{github.url}?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        }
        code, out, err = ci(town.house, "ci", "request", model, "1", CHAMPION, MLFLOW_TRACKING_TOKEN="", **job)
        assert code == 0, err
        [asked] = github.requests
    assert asked.target == f"/hook?api-version=2.0&audience={AUDIENCE}"
    assert asked.headers["authorization"] == "Bearer of-the-job"
    assert town.house.call("admin", "GET", f"/requests/{int(out)}")["requester"] == "ci"
