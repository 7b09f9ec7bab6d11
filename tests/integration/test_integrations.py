"""What stands in `integrations/` is run: its shell, its programs, against a real Lockgate."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from standardwebhooks import Webhook

from tests.conftest import BACKENDS
from tests.house import House, free_port
from tests.integration.test_webhooks import ALLOWED, until
from tests.pipelines import ROOT, Failed, Github, Gitlab, Machine
from tests.provider.town import AUDIENCE, Town
from tests.provider.town import town as open_town
from tests.receivers import Receiver, status

POLICY = """\
version: 1
rules:
  - name: staging
    models: "*"
    targets: [stage:Staging]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.80"}
    promote: {on: approval}
  - name: production
    models: "*"
    targets: [stage:Production]
    gates:
      - {name: staging-validation, check: staging-validation, from: [service:ci]}
    approvals: {required: 1, from: [group:senior]}
    promote: {on: approval}
"""
MOVES = ["promotion.done", "rollback.done", "break_glass.used"]
SCHEMAS = {
    "gitlab/lockgate.gitlab-ci.yml": ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    "gitlab/example.gitlab-ci.yml": ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    "github/action.yml": ["vendor.github-actions"],
    "github/example.yml": ["vendor.github-workflows"],
}


@pytest.fixture(params=BACKENDS, scope="module")
def town(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    with open_town(tmp_path_factory.mktemp("town"), new_database(request.param), **ALLOWED) as opened:
        opened.house.apply_policy(POLICY)
        yield opened


@pytest.mark.parametrize("file", SCHEMAS)
def test_files_are_as_their_vendors_schemas_say(file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *SCHEMAS[file]]
    done = subprocess.run([*command, str(ROOT / "integrations" / file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def job_of(town: Town, audience: str) -> str:
    return town.platform.token("x", aud=audience, repository="acme/fraud", ref="refs/heads/main")


def approve(house: House, model: str) -> None:
    [asked] = house.call("sue", "GET", f"/requests?model={model}&target=stage:Production&state=open")["requests"]
    assert asked["requester"] == "ci"
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})


def served(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "served/version.json").read_text())
    assert (folder / found["folder"] / "MLmodel").exists()
    return found


def test_gitlab_takes_a_model_from_training_to_deployment(town: Town, tmp_path: Path) -> None:
    house, model = town.house, f"gitlab-{tmp_path.name}"
    settings = {"MLFLOW_TRACKING_URI": house.uri, "LOCKGATE_AUDIENCE": AUDIENCE, "TRAIN_MODEL": model}
    project = Gitlab(Machine(tmp_path / "project"), settings, lambda audience: job_of(town, audience))

    def pipelines(number: int) -> list[dict[str, str]]:
        until(lambda: len(gitlab.requests) >= number)
        return [_variables(request.body) for request in gitlab.requests]

    with Receiver(status(201, b'{"id": 1}')) as gitlab:
        house.call("admin", "POST", "/webhooks", {
            "url": gitlab.url.removesuffix("/hook"), "dialect": "gitlab", "events": MOVES, "models": model,
            "settings": {"project": "42", "ref": "main", "token": "glptt-1"},
        })  # fmt: skip
        assert project.pipeline("push") == ["train", "to-staging"]
        [staged] = pipelines(1)
        assert staged["MODEL_TARGET"] == "stage:Staging"
        assert project.pipeline("trigger", **staged) == ["validate", "request-production"]
        assert not (project.machine.folder / "served").exists()
        # Run again, as pipelines are: nothing is asked twice.
        assert project.pipeline("trigger", **staged) == ["validate", "request-production"]
        approve(house, model)
        promoted = pipelines(2)[1]
        assert promoted["MODEL_TARGET"] == "stage:Production"
        # What the event says is late, or made up: the registry is asked.
        assert project.pipeline("trigger", **{**promoted, "MODEL_VERSION": "99"}) == ["read", "deploy"]
    found = served(project.machine.folder)
    assert (found["name"], found["version"]) == (model, "1")
    [check] = [one for one in _checks(house, model) if one["status"] == "success"][:1]
    assert check["url"] == "https://gitlab.example.com/acme/fraud/-/jobs/42"


def _variables(body: bytes) -> dict[str, str]:
    fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return {name[10:-1]: value for name, value in fields.items() if name.startswith("variables[")}


def _checks(house: House, model: str) -> list[dict[str, Any]]:
    entries = house.call("admin", "GET", f"/audit?model={model}&max_results=200")["entries"]
    return [one["after"] for one in entries if one["action"] == "check.reported"]


def test_github_takes_a_model_from_training_to_deployment(town: Town, tmp_path: Path) -> None:
    house, model = town.house, f"github-{tmp_path.name}"
    token = json.dumps({"value": job_of(town, AUDIENCE)}).encode()
    with Receiver(status(204)) as api, Receiver(status(200, token)) as platform:
        settings = {
            "MLFLOW_TRACKING_URI": house.uri, "LOCKGATE_OIDC_AUDIENCE": AUDIENCE, "TRAIN_MODEL": model,
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{platform.url}?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
            "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/fraud", "GITHUB_RUN_ID": "7",
        }  # fmt: skip
        repository = Github(Machine(tmp_path / "repository"), settings)
        house.call("admin", "POST", "/webhooks", {
            "url": api.url.removesuffix("/hook"), "dialect": "github", "events": MOVES, "models": model,
            "settings": {"owner": "acme", "repo": "fraud", "token": "ghp_1"},
        })  # fmt: skip
        with approving(town, model):
            assert repository.workflow("push") == ["train", "check", "promote"]
        until(lambda: api.requests)
        [dispatch] = [json.loads(request.body) for request in api.requests]
        assert repository.workflow("repository_dispatch", dispatch) == ["deploy"]
        assert {one.target for one in platform.requests} == {f"/hook?v=2&audience={AUDIENCE}"}
    assert served(repository.machine.folder)["version"] == "1"
    assert _checks(house, model)[0]["url"] == "https://github.com/acme/fraud/actions/runs/7"
    other = {"event_type": "promotion.done", "client_payload": {"model": model, "target": "stage:Staging"}}
    assert repository.workflow("repository_dispatch", other) == []


@contextmanager
def approving(town: Town, model: str) -> Iterator[None]:
    """Have a person approve while the pipeline waits."""
    script = """
import sys, time, httpx
client = httpx.Client(base_url=sys.argv[1] + "/api/lockgate/v1", headers={"Authorization": "Bearer " + sys.argv[2]})
while True:
    for one in client.get("/requests", params={"model": sys.argv[3], "state": "open"}).json()["requests"]:
        time.sleep(1)
        sys.exit(client.post(f"/requests/{one['id']}/approve", json={}).status_code != 200)
    time.sleep(0.5)
"""
    arguments = [town.house.uri, town.house.tokens["sue"], model]
    with subprocess.Popen([sys.executable, "-c", script, *arguments]) as sue:
        try:
            yield
            assert sue.wait(30) == 0
        finally:
            sue.kill()


def test_a_name_of_a_model_is_never_part_of_a_script(town: Town, tmp_path: Path) -> None:
    hostile = "--help $(touch pwned) `touch pwned`; touch pwned"
    settings = {"MLFLOW_TRACKING_URI": town.house.uri, "LOCKGATE_AUDIENCE": AUDIENCE}
    project = Gitlab(Machine(tmp_path / "project"), settings, lambda audience: job_of(town, audience))
    with pytest.raises(Failed, match="not found"):
        project.pipeline("trigger", MODEL_NAME=hostile, MODEL_TARGET="stage:Production")
    with Receiver(status(200, json.dumps({"value": job_of(town, AUDIENCE)}).encode())) as platform:
        token = {"ACTIONS_ID_TOKEN_REQUEST_URL": platform.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job"}
        repository = Github(Machine(tmp_path / "repository"), {**settings, **token, "LOCKGATE_OIDC_AUDIENCE": AUDIENCE})
        payload = {"model": hostile, "target": "stage:Production", "outcome": "done"}
        with pytest.raises(Failed, match="not found"):
            repository.workflow("repository_dispatch", {"event_type": "promotion.done", "client_payload": payload})
    assert list(tmp_path.rglob("pwned")) == []


# The receiver


@contextmanager
def receiver(house: House, secret: str, folder: Path) -> Iterator[str]:
    """Run the receiver as its README says; yield where it listens."""
    port = free_port()
    deploy = 'lockgate ci deployed --format json -- "$MODEL_NAME" "$MODEL_TARGET" >> deployed.jsons; echo "$MODEL_NAME" >> runs'
    environment = {
        **os.environ, "LOCKGATE_WEBHOOK_SECRET": secret, "DEPLOY_COMMAND": f"sh -c '{deploy}'",
        "MLFLOW_TRACKING_URI": house.uri, "MLFLOW_TRACKING_TOKEN": house.tokens["ci"],
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        str(ROOT / "integrations/receiver"),
        "app:app",
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            uri = f"http://127.0.0.1:{port}/lockgate"
            until(lambda: _answers(uri))
            yield uri
            process.terminate()
            assert process.wait(15) in (0, -15)
        finally:
            process.kill()


def _answers(uri: str) -> bool:
    try:
        return httpx.get(uri).status_code == 405
    except httpx.TransportError:
        return False


def runs(folder: Path) -> list[str]:
    """Return of which models something was deployed."""
    file = folder / "runs"
    return file.read_text().splitlines() if file.exists() else []


def test_the_receiver_deploys_what_a_real_server_tells_it(town: Town, tmp_path: Path) -> None:
    house = town.house
    model = house.new_model()
    port = free_port()  # a placeholder: the secret comes with the webhook, and the receiver needs it to start
    made = house.call("admin", "POST", "/webhooks", {"url": f"http://127.0.0.1:{port}/lockgate", "models": model})
    house.call(
        "ci", "POST", "/checks", {"model": model, "version": "1", "name": "staging-validation", "status": "success"}
    )
    with receiver(house, made["secret"], tmp_path) as uri:
        house.call("admin", "PATCH", f"/webhooks/{made['id']}", {"url": uri})
        asked = house.ask(model, "1", "stage:Production")
        house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
        until(lambda: runs(tmp_path) == [model])
        found = json.loads((tmp_path / "deployed.jsons").read_text())
        assert (found["model"], found["version"], found["approved_by"]) == (model, "1", ["sue"])


SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def call(number: str, at: datetime, body: dict[str, Any], secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(body)
    signature = Webhook(secret).sign(number, at, text)
    return text.encode(), {
        "webhook-id": number, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature,
        "content-type": "application/json",
    }  # fmt: skip


def test_the_receiver_refuses_what_is_forged_old_or_changed_and_takes_an_event_once(town: Town, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    data = {"model": "nobody's", "target": "stage:Production", "outcome": "done"}
    event = {"type": "promotion.done", "timestamp": "2026-05-12T14:00:00Z", "data": data}

    def about(model: str, **change: str) -> dict[str, Any]:
        return {**event, "data": {**data, "model": model, **change}}

    other = "whsec_" + "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
    refused = {
        "forged": call("m1", now, event, other),
        "old": call("m2", now - timedelta(minutes=10), event),
        "from the future": call("m3", now + timedelta(minutes=10), event),
        "changed": (b'{"type": "promotion.done"}', call("m4", now, event)[1]),
        "under another id": (call("m5", now, event)[0], {**call("m5", now, event)[1], "webhook-id": "m6"}),
        "not signed": (b"{}", {}),
    }
    with receiver(town.house, SECRET, tmp_path) as uri:
        for why, (body, headers) in refused.items():
            assert httpx.post(uri, content=body, headers=headers).status_code == 401, why
        assert httpx.post(uri, content=b"x" * 100_001).status_code == 413
        body, headers = call("m7", now, about("m7"))
        for _ in range(3):
            began = time.monotonic()
            assert httpx.post(uri, content=body, headers=headers).status_code == 204
            assert time.monotonic() - began < 5
        until(lambda: runs(tmp_path) == ["m7"])
        # What was refused, or is about another target, deploys nothing.
        for number, change in (("m8", {"outcome": "refused"}), ("m9", {"target": "stage:Staging"})):
            body, headers = call(number, now, about(number, **change))
            assert httpx.post(uri, content=body, headers=headers).status_code == 204
        body, headers = call("m10", now, about("m10"))
        httpx.post(uri, content=body, headers=headers)
        until(lambda: runs(tmp_path)[-1] == "m10")
    # A replay is refused as one also after a restart.
    with receiver(town.house, SECRET, tmp_path) as uri:
        body, headers = call("m7", now, about("m7"))
        assert httpx.post(uri, content=body, headers=headers).status_code == 204
        body, headers = call("m11", now, about("m11"))
        httpx.post(uri, content=body, headers=headers)
        until(lambda: runs(tmp_path)[-1] == "m11")
    assert runs(tmp_path) == ["m7", "m10", "m11"]
