"""A request's whole way, told to what plays Jira, GitHub and a relay for e-mail."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.conftest import BACKENDS
from tests.house import House
from tests.integration.test_webhooks import HASTY, until
from tests.receivers import Receiver, Request, Visit, answer, status
from tests.relays import ACCEPTED, Relay

POLICY = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [alias:champion]
    gates:
      - {name: validated, check: validation}
    approvals: {required: 1, from: [group:senior]}
"""
TARGET = "alias:champion"
SHA = "0123456789abcdef0123456789abcdef01234567"
JIRA = {
    "project": "ML",
    "user": "bot@example.com",
    "token": "t0ken",
    "transition.request.rejected": "31",
    "transition.promotion.done": "41",
}


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with Relay() as opened:
        yield opened


@pytest.fixture(scope="module", params=BACKENDS)
def house(
    request: pytest.FixtureRequest,
    new_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
    relay: Relay,
) -> Iterator[House]:
    by_mail = {"LOCKGATE_SMTP_URL": f"smtp://127.0.0.1:{relay.port}", "LOCKGATE_SMTP_FROM": "gate@example.com"}
    by_mail["LOCKGATE_SMTP_DOMAINS"] = "example.com"
    folder = tmp_path_factory.mktemp("house")
    with closing(House(folder, new_database(request.param), environment={**HASTY, **by_mail})) as opened:
        opened.open().apply_policy(POLICY)
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


@pytest.fixture
def tell(house: House, receiver: Receiver) -> Iterator[Callable[..., str]]:
    """Set a webhook up for as long as a test lasts; returns its id."""
    made: list[str] = []

    def add(**wanted: Any) -> str:
        given = {"url": receiver.url.removesuffix("/hook"), **wanted}
        made.append(house.call("admin", "POST", "/webhooks", given, 201)["id"])
        return made[-1]

    yield add
    for webhook in made:
        house.http("admin").delete(f"/api/lockgate/v1/webhooks/{webhook}")


def plays_jira() -> Callable[[Visit], None]:
    """Return what Jira does: it numbers issues, and takes comments and transitions of those that there are."""
    numbers = itertools.count(1)
    issues: set[str] = set()

    def behave(visit: Visit) -> None:
        visit.take()
        target = visit.receiver.requests[-1].target
        if target == "/rest/api/2/issue":
            key = f"ML-{next(numbers)}"
            issues.add(key)
            visit.say(answer(201, json.dumps({"id": "10000", "key": key, "self": "https://evil.example"}).encode()))
            return
        key, _, what = target.removeprefix("/rest/api/2/issue/").partition("/")
        if key not in issues:
            visit.say(answer(404))
        else:
            visit.say(answer(204) if what == "transitions" else answer(201, b'{"id": "1", "key": "ML-999"}'))

    return behave


def called(receiver: Receiver) -> list[tuple[str, Any]]:
    return [(one.target.removeprefix("/rest/api/2/issue"), json.loads(one.body)) for one in receiver.requests]


def paths(receiver: Receiver) -> list[str]:
    return [path for path, _ in called(receiver)]


def model_of_a_commit(house: House) -> str:
    model = house.new_model()
    with house.acting_as("ada") as client:
        client.set_tag(client.get_model_version(model, "1").run_id, "git_commit", SHA)
    return model


def check(house: House, model: str, result: str) -> None:
    house.call("ci", "POST", "/checks", {"model": model, "version": "1", "name": "validation", "status": result})


def test_a_request_is_an_issue_that_is_moved_along_when_it_is_carried_out(
    house: House, receiver: Receiver, tell: Callable[..., str]
) -> None:
    receiver.behaviour = plays_jira()
    tell(dialect="jira", settings=JIRA)
    model = house.new_model()
    asked = house.ask(model, "1", TARGET)["id"]
    check(house, model, "failure")
    check(house, model, "success")
    house.call("sue", "POST", f"/requests/{asked}/approve", {"comment": "fine"})
    house.call("bot", "POST", f"/requests/{asked}/promote", {})
    until(lambda: len(receiver.requests) == 5)
    assert paths(receiver) == ["", "/ML-1/comment", "/ML-1/comment", "/ML-1/comment", "/ML-1/transitions"]
    issue, failed, passed, reviewed, promoted = (body for _, body in called(receiver))
    assert issue["fields"]["labels"] == ["lockgate", f"lockgate-request-{asked}"]
    assert "… pending: validated" in issue["fields"]["description"]
    assert "✗ failed: validated" in failed["body"]
    assert "✓ passed: validated" in passed["body"]
    assert "State: approved" in reviewed["body"]
    assert promoted["transition"] == {"id": "41"}
    assert receiver.requests[0].headers["authorization"].startswith("Basic ")


def test_another_jira_is_not_sent_the_keys_of_the_first(
    house: House, receiver: Receiver, tell: Callable[..., str]
) -> None:
    receiver.behaviour = plays_jira()
    webhook = tell(dialect="jira", settings=JIRA)
    model = house.new_model()
    asked = house.ask(model, "1", TARGET)["id"]
    until(lambda: paths(receiver) == [""])
    with Receiver(plays_jira()) as other:
        moved = {"url": other.url.removesuffix("/hook"), "settings": JIRA}
        house.call("admin", "PATCH", f"/webhooks/{webhook}", moved)
        house.call("sue", "POST", f"/requests/{asked}/reject", {"comment": "no"})
        until(lambda: bool(other.requests))
        assert paths(other)[0] == ""


def test_each_request_has_an_issue_of_its_own_and_a_rejected_one_is_moved_along(
    house: House, receiver: Receiver, tell: Callable[..., str]
) -> None:
    receiver.behaviour = plays_jira()
    tell(dialect="jira", settings=JIRA, events=["request.opened", "request.rejected"])
    model = house.new_model(versions=2)
    first, second = (house.ask(model, version, TARGET)["id"] for version in "12")
    house.call("sue", "POST", f"/requests/{second}/reject", {"comment": "no"})
    house.call("sue", "POST", f"/requests/{first}/reject", {"comment": "no"})
    until(lambda: len(receiver.requests) == 4)
    assert paths(receiver) == ["", "", "/ML-2/transitions", "/ML-1/transitions"]
    assert called(receiver)[-1][1]["transition"] == {"id": "31"}


def test_an_issue_that_could_not_be_made_is_made_by_what_happens_next(
    house: House, receiver: Receiver, tell: Callable[..., str]
) -> None:
    webhook = tell(dialect="jira", settings=JIRA, events=["request.opened", "request.commented", "request.withdrawn"])
    jira = plays_jira()

    def behave(visit: Visit) -> None:
        if not visit.receiver.requests:
            # The first one's answer is none that a key could be learnt from.
            status(201, b'{"key": "ML-1/../../../admin"}')(visit)
        else:
            jira(visit)

    receiver.behaviour = behave
    model = house.new_model()
    asked = house.ask(model, "1", TARGET)["id"]
    house.call("sue", "POST", f"/requests/{asked}/comment", {"comment": "why?"})
    house.call("ada", "POST", f"/requests/{asked}/withdraw", {})
    until(lambda: len(receiver.requests) == 3)
    assert paths(receiver) == ["", "", "/ML-1/comment"]
    count = f"SELECT count(*) FROM lockgate_remembered WHERE webhook_id = '{webhook}'"
    assert house.rows(count) == [(1,)]
    house.call("admin", "DELETE", f"/webhooks/{webhook}")
    assert house.rows(count) == [(0,)]


def test_a_commit_shows_where_its_request_stands(house: House, receiver: Receiver, tell: Callable[..., str]) -> None:
    receiver.behaviour = status(201, b'{"id": 4}')
    tell(dialect="github-checks", settings={"owner": "acme", "repo": "models", "token": "ghs_1"})
    model = model_of_a_commit(house)
    asked = house.ask(model, "1", TARGET)["id"]
    check(house, model, "failure")
    check(house, model, "success")
    house.call("sue", "POST", f"/requests/{asked}/approve", {})
    house.call("bot", "POST", f"/requests/{asked}/promote", {})
    house.ask(house.new_model(), "1", TARGET)  # of no commit
    until(lambda: len(receiver.requests) == 5)
    assert {one.target for one in receiver.requests} == {"/repos/acme/models/check-runs"}
    runs = [json.loads(one.body) for one in receiver.requests]
    assert {(run["head_sha"], run["external_id"]) for run in runs} == {(SHA, f"lockgate-request-{asked}")}
    assert [(run["status"], run.get("conclusion")) for run in runs] == [
        ("in_progress", None),
        ("completed", "failure"),
        ("in_progress", None),
        ("completed", "success"),
        ("completed", "success"),
    ]


def test_people_are_told_by_mail(house: House, relay: Relay, tell: Callable[..., str]) -> None:
    relay.messages.clear()
    webhook = tell(
        dialect="email",
        url="mailto:team@example.com,lead@example.com",
        events=["request.opened", "promotion.done"],
    )
    model = house.new_model()
    asked = house.ask(model, "1", TARGET)["id"]
    check(house, model, "success")
    relay.at_end = "451 later"
    house.call("sue", "POST", f"/requests/{asked}/approve", {})
    house.call("bot", "POST", f"/requests/{asked}/promote", {})
    relay.at_end = ACCEPTED
    until(lambda: len(relay.messages) == 2)
    opened, promoted = relay.messages
    assert opened["Subject"] == f"[Lockgate] Promotion requested: version 1 of '{model}' -> {TARGET}"
    assert opened["To"] == "team@example.com, lead@example.com"
    assert promoted["From"] == "gate@example.com"
    assert opened["Message-ID"] != promoted["Message-ID"]
    found = until(lambda: _all_delivered(house, webhook))
    assert {attempts[-1]["status"] for attempts in found} == {250}


def test_mail_goes_nowhere_but_to_the_operators_domains(house: House) -> None:
    wanted = {"url": "mailto:team@example.com,me@elsewhere.example", "dialect": "email"}
    refused = house.call("admin", "POST", "/webhooks", wanted, 400)
    assert "at example.com only" in refused["message"]


def _all_delivered(house: House, webhook: str) -> list[Any]:
    found = house.call("admin", "GET", f"/deliveries?webhook_id={webhook}")["deliveries"]
    return [one["attempts"] for one in found] if all(one["state"] == "delivered" for one in found) else []


@pytest.mark.parametrize(
    ("dialect", "settings"),
    [("jira", JIRA), ("github-checks", {"owner": "acme", "repo": "models", "token": "ghs_1"})],
)
def test_an_example_can_be_sent(
    house: House, receiver: Receiver, tell: Callable[..., str], dialect: str, settings: dict[str, str]
) -> None:
    webhook = tell(dialect=dialect, settings=settings)
    assert house.call("admin", "POST", f"/webhooks/{webhook}/test", {})["status"] == 200
    request: Request
    (request,) = receiver.requests
    assert "lockgate-request-0" in request.body.decode()


def test_settings_that_a_dialect_does_not_know_are_refused(house: House, receiver: Receiver) -> None:
    wanted = {"url": receiver.url, "dialect": "jira", "settings": {**JIRA, "projekt": "ML"}}
    refused = house.call("admin", "POST", "/webhooks", wanted, 400)
    assert "'projekt'. It has project, issue_type, user, token, transition.EVENT" in refused["message"]


def test_tokens_and_variables_are_not_shown(house: House, tell: Callable[..., str]) -> None:
    settings = {"project": "1", "ref": "main", "token": "t", "variables[PASSWORD]": "hunter2"}
    webhook = tell(dialect="gitlab", settings=settings)
    shown = house.call("admin", "GET", f"/webhooks/{webhook}")["settings"]
    assert shown == {"project": "1", "ref": "main", "token": "...", "variables[PASSWORD]": "..."}


@pytest.mark.parametrize("dialect", ["slack", "jira", "standard"])
def test_only_mail_goes_to_addresses(house: House, dialect: str) -> None:
    wanted = {"url": "mailto:team@example.com", "dialect": dialect, "settings": JIRA if dialect == "jira" else {}}
    assert "begins with https://" in house.call("admin", "POST", "/webhooks", wanted, 400)["message"]
