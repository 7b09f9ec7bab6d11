"""`lockgate ci`: what a pipeline asks and says on the way from a trained version to a deployed one."""

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from lockgate.cli import ci_wait
from lockgate.cli.ci_output import as_dotenv, as_github_output, deployable
from lockgate.cli.ci_run import run
from lockgate.cli.ci_wait import Goal, newest_request
from lockgate.cli.duration import Duration
from lockgate.cli.job import job_url
from lockgate.cli.models import metrics_option
from lockgate.cli.output import command, connect, fail, say, show_json
from lockgate.cli.patience import until_answered
from lockgate.cli.progress import Progress
from lockgate.cli.waiting import call_when_hashed
from lockgate.client.connection import Connection
from lockgate.client.job_token import JobToken
from lockgate.errors import LockgateError, NotFound, Refused

#: For how long to go on trying to report what a command came to, in seconds: the work is done, and would be lost.
_REPORT_SECONDS = 300

_TIMEOUT = click.option(
    "--timeout", type=Duration(), default="2h", show_default=True, help="For how long to wait: 30s, 15m, 2h."
)
_UNTIL = click.option(
    "--until",
    type=click.Choice([goal.value for goal in Goal]),
    default=Goal.APPROVED.value,
    show_default=True,
    help="What to wait for.",
)


def _prefix(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,50}", value):
        raise click.BadParameter(f"{value!r} begins no names of variables: write capital letters, such as DEPLOY")
    return value


@click.group()
def ci() -> None:
    """In a pipeline: ask, wait for the decision, report checks, read what to deploy.

    \b
      lockgate ci request fraud-detector 3 stage:Production --wait
      lockgate ci check staging-validation --model fraud-detector --version 3 -- pytest tests/staging
      lockgate ci deployed fraud-detector stage:Production >> model.env
    """


@ci.command()
@click.argument("number", metavar="[ID]", type=int, required=False)
@click.option("--model", help="The model, in place of ID: the newest request for --target of it.")
@click.option("--target", help="stage:Production or alias:NAME, with --model.")
@click.option("--version", help="Only a request for this version, with --model.")
@_TIMEOUT
@_UNTIL
@command
def wait(
    number: int | None,
    model: str | None,
    target: str | None,
    version: str | None,
    timeout: int,
    until: str,
    as_json: bool,
) -> None:
    """Wait until request ID is approved, and say meanwhile what is missing.

    Exit codes: 0 it is approved (or promoted), 1 it was rejected, withdrawn, superseded or has expired, or the time is
    over. A server that is restarted meanwhile is waited for.
    """
    if (number is None) == (model is None) or (model is None) != (target is None) or (number and version):
        raise click.UsageError("Name the request: either its ID, or --model and --target.")
    server = connect()
    if number is None:
        assert model is not None
        assert target is not None
        number = newest_request(server, model, target, version)
        _show(_wait_for_holder(server, number, Goal(until), timeout), as_json)
        return
    _show(ci_wait.wait(server, number, Goal(until), timeout), as_json)


@ci.command()
@click.argument("model")
@click.argument("version")
@click.argument("target")
@click.option("--comment", metavar="TEXT", help="Said to everybody who looks at the request.")
@click.option("--wait", is_flag=True, help="Wait for the decision, as `lockgate ci wait` does.")
@_TIMEOUT
@_UNTIL
@command
def request(
    model: str, version: str, target: str, comment: str | None, wait: bool, timeout: int, until: str, as_json: bool
) -> None:
    """Ask that TARGET of MODEL move to VERSION; prints the request's number, for the next step.

    A pipeline may be run again: a request that is open for exactly this is used again, and if the target holds the
    version already there is nothing to ask for, which is said and is no failure.
    """
    server = connect()
    holder = _holder_or_none(server, model, target)
    if holder is not None and holder["version"] == version:
        _check_is_approved(holder)
        click.echo(f"{target} of '{model}' holds version {version} already; there is nothing to ask for.", err=True)
        if as_json:
            show_json(holder)
        return
    asked = server.call("POST", "/requests", {"model": model, "version": version, "target": target, "comment": comment})
    if wait:
        asked = ci_wait.wait(server, asked["id"], Goal(until), timeout)
    elif asked["unmet"]:
        Progress().tell(f"Request {asked['id']} is {asked['state']} ({asked['url']}). Still missing:", *asked["unmet"])
    if as_json:
        show_json(asked)
    else:
        click.echo(asked["id"])


@ci.command()
@click.argument("name")
@click.argument("command_", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--model", required=True, help="The model.")
@click.option("--version", required=True, help="The version that is checked.")
@click.option("--status", type=click.Choice(["success", "failure", "pending"]), help="What to report, without COMMAND.")
@click.option("--summary", help="What was found, for people. With COMMAND: what comes before how it ended.")
@click.option("--url", help="Where to read more; by default the page of the CI job.")
@metrics_option
@command
def check(
    name: str,
    command_: tuple[str, ...],
    model: str,
    version: str,
    status: str | None,
    summary: str | None,
    url: str | None,
    metrics: dict[str, float],
    as_json: bool,
) -> None:
    """Report check NAME as pending, run COMMAND, and report success or failure by its exit code.

    Exits with COMMAND's own exit code. What is told to stop meanwhile (Ctrl-C, SIGTERM) is reported as a failure. The
    result is about the version as it was before COMMAND ran: if that changes its evidence, the result is refused.
    Without COMMAND, reports --status.
    """
    if bool(command_) == (status is not None):
        raise click.UsageError("Give either a command to run, after `--`, or --status.")
    body = {
        "model": model,
        "version": version,
        "name": name,
        "summary": summary,
        "details_url": url or job_url(os.environ),
        "metrics": metrics,
    }
    server = connect()
    reported = call_when_hashed(lambda: server.call("POST", "/checks", {**body, "status": status or "pending"}))
    if not command_:
        _show_check(reported, as_json)
        return
    ended = run(command_)
    body["summary"] = f"{summary} {ended.summary}" if summary else ended.summary
    body["evidence_digest"] = reported["evidence_digest"]
    try:
        reported = _report(server, {**body, "status": ended.status})
    except LockgateError as error:
        if ended.code == 0:
            raise
        # The command's own failure is what the job is about.
        click.echo(f"The failure could not be reported: {error.message}", err=True)
    else:
        _show_check(reported, as_json)
    sys.exit(ended.code)


@ci.command()
@click.argument("model")
@click.argument("target")
@click.option("--format", "form", type=click.Choice(["env", "json", "version"]), default="env", show_default=True)
@click.option(
    "--prefix",
    default="MODEL",
    show_default=True,
    callback=_prefix,
    help="What the names in a dotenv file begin with. GitLab prefers a variable of the pipeline of the same name.",
)
@click.option("--github-output", is_flag=True, help="Also write outputs of the step, to the file $GITHUB_OUTPUT.")
@command
def deployed(model: str, target: str, form: str, prefix: str, github_output: bool, as_json: bool) -> None:
    """Print what TARGET of MODEL holds now: the version to deploy.

    \b
      env      MODEL_NAME, MODEL_VERSION, MODEL_TARGET, MODEL_URI, MODEL_SOURCE, MODEL_DIGEST: a dotenv file
      json     all that is known of it
      version  the number

    Exit codes: 0 done, 1 it holds nothing, or the policy protects it and no decision brought there what it holds.
    """
    holder = connect().call("GET", _holder_path(model), target=target)
    _check_is_approved(holder)
    values = deployable(holder)
    # Made before anything is written: what can't be said is not half said.
    text = as_dotenv(values, prefix) if form == "env" and not as_json else f"{holder['version']}\n"
    if github_output:
        _write_github_output(values)
    if as_json or form == "json":
        show_json(holder)
    else:
        click.echo(text, nl=False)


@ci.command()
def token() -> None:
    """Print the token of this job of GitHub Actions, for the mlflow client: as MLFLOW_TRACKING_TOKEN.

    Whom it is for, LOCKGATE_OIDC_AUDIENCE says. It lasts five minutes; `lockgate` commands need none, they ask
    themselves.
    """
    try:
        found = JobToken.from_environment(os.environ)
        if found is None:
            raise click.UsageError("Set LOCKGATE_OIDC_AUDIENCE: whom the token is for, as the identity file says.")
        click.echo(found.new())
    except LockgateError as error:
        fail(error)


_UNDECIDED = {
    "adopted": "it was there before Lockgate",
    "direct": "it was moved there while no rule protected it",
    "behind": "it was moved past Lockgate",
}


def _check_is_approved(holder: Mapping[str, Any]) -> None:
    """Refuse what a protected target holds without anybody's decision."""
    if holder["protected"] and holder["decision_id"] is None:
        raise Refused(
            f"{holder['target']} of '{holder['model']}' holds version {holder['version']}, and nobody approved that "
            f"({_UNDECIDED.get(holder['how'], holder['how'])}). Don't deploy it: `lockgate doctor` says more, and "
            f"`lockgate request {holder['model']} VERSION {holder['target']}` asks for a version that is approved."
        )


def _wait_for_holder(server: Connection, number: int, goal: Goal, timeout: int) -> dict[str, Any]:
    """Wait for the newest request of somebody else; an old one, after which others came, is none to go on with."""
    decided = ci_wait.wait(server, number, goal, timeout)
    if goal is Goal.PROMOTED:
        holder = _holder_or_none(server, decided["model"], decided["target"])
        if holder is None or holder["version"] != decided["version"]:
            now = f"version {holder['version']}" if holder else "nothing"
            raise Refused(
                f"Promotion request {number} was carried out, but {decided['target']} of '{decided['model']}' holds "
                f"{now} by now."
            )
    return decided


def _holder_path(model: str) -> str:
    return f"/models/{quote(model, safe='')}/holder"


def _holder_or_none(server: Connection, model: str, target: str) -> dict[str, Any] | None:
    try:
        return dict(server.call("GET", _holder_path(model), target=target))
    except NotFound:
        return None


def _report(server: Connection, body: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + _REPORT_SECONDS
    post = lambda: until_answered(lambda: server.call("POST", "/checks", body), until, Progress())  # noqa: E731
    return dict(call_when_hashed(post))


def _write_github_output(values: dict[str, str]) -> None:
    file = os.environ.get("GITHUB_OUTPUT")
    if not file:
        raise click.UsageError("There is no $GITHUB_OUTPUT: --github-output is for steps of GitHub Actions.")
    with Path(file).open("a", encoding="utf-8") as output:
        output.write(as_github_output(values))


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    say(f"Request {found['id']}: {found['model']} version {found['version']} -> {found['target']}: {found['state']}")


def _show_check(reported: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(reported)
        return
    said = f"Check '{reported['name']}' of {reported['model']} version {reported['version']}: {reported['status']}"
    # On stderr, as the output of the command that was run is on stdout.
    click.echo(f"{said} ({reported['details_url']})" if reported["details_url"] else said, err=True)
