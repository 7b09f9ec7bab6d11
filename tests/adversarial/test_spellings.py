"""Spellings that fool what reads paths and bodies to decide change nothing about who may do what."""

import gzip
import json
import secrets
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.adversarial.bait import bait
from tests.house import House
from tests.sides import INSIDE, OUTSIDE, Side, furnish, let_in, trace_info

Sent = dict[str, Any]


def plain(path: str, body: Sent) -> Iterator[tuple[str, Sent]]:
    """Yield spellings of a POST of a JSON body to one of MLflow's paths: of the path, the method and the body."""
    text = json.dumps(body)
    jsons = {"content-type": "application/json"}
    (key, value), *rest = body.items()
    camel = "".join(part.title() if at else part for at, part in enumerate(key.split("_")))
    doubled = "{" + f'"{key}": "0", ' + text[1:-1] + f', "{camel}": {json.dumps(value)}' + "}"
    yield path, {"json": body}
    for other in (
        path.replace("/api/", "/ajax-api/"),
        "/" + path,
        path.replace("/mlflow/", "//mlflow/"),
        path.replace("/mlflow/", "/mlflow/./"),
        path.replace("/mlflow/", "/x/../mlflow/"),
        path.replace("/mlflow/", "/mlflow%2f"),
        path.replace("mlflow", "%6dlflow"),
        path.replace("/api/", "/%61jax-api/"),
        path.replace("/mlflow/", "/mlflow/%2e/"),
        path + "/",
        path + "%00",
        path + ";x=/health",
        path + "?x=/health",
        path.upper(),
        "/health/.." + path,
        "/static-files/.." + path,
        "/static-files/%2e%2e" + path,
        path.replace("2.0", "3.0"),
    ):
        yield other, {"json": body}
    yield path, {"content": doubled, "headers": jsons}
    yield path, {"content": json.dumps({camel: value, **dict(rest)}), "headers": jsons}
    yield path, {"content": json.dumps(text), "headers": jsons}
    for charset in ("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig"):
        yield (
            path,
            {"content": text.encode(charset), "headers": {"content-type": f"application/json; charset={charset}"}},
        )
    yield path, {"content": gzip.compress(text.encode()), "headers": {**jsons, "content-encoding": "gzip"}}
    yield path, {"data": body}
    yield path, {"params": body}
    yield path, {"params": {key: "0"}, "json": body}
    yield path, {"content": text, "headers": {"content-type": "text/plain"}}
    yield path, {"files": {name: (None, str(said)) for name, said in body.items()}}
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        yield path, {"method": "GET", "json": body, "headers": {header: "POST"}}
        yield path, {"json": body, "headers": {header: "GET"}}
    for header in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"):
        yield path, {"json": body, "headers": {header: "/health"}}
        yield "/health", {"json": body, "headers": {header: path}}
    for method in ("GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "post", "TRACE"):
        yield path, {"method": method, "json": body}
        yield path, {"method": method, "params": body}


def send(client: httpx.Client, path: str, sent: Sent) -> httpx.Response:
    # As it is: a client that tidies a path up would not send it.
    request = client.build_request(sent.pop("method", "POST"), "/", **sent)
    query = b"?" + request.url.query if request.url.query else b""
    joined = path.encode() + (query.replace(b"?", b"&") if "?" in path else query)
    request.url = request.url.copy_with(raw_path=joined)
    return client.send(request)


def experiment(house: House, side: Side) -> dict[str, Any]:
    answer = house.http("admin").get("/api/2.0/mlflow/experiments/get", params={"experiment_id": side.experiment})
    found: dict[str, Any] = answer.raise_for_status().json()["experiment"]
    return found


def run(house: House, side: Side) -> dict[str, Any]:
    answer = house.http("admin").get("/api/2.0/mlflow/runs/get", params={"run_id": side.run})
    found: dict[str, Any] = answer.raise_for_status().json()["run"]
    return found


def model(house: House, side: Side) -> dict[str, Any]:
    answer = house.http("admin").get("/api/2.0/mlflow/registered-models/get", params={"name": side.model})
    found: dict[str, Any] = answer.raise_for_status().json()["registered_model"]
    return found


WRITES: list[tuple[str, Callable[[Side], Sent], Callable[[House, Side], Any]]] = [
    ("/api/2.0/mlflow/runs/set-tag", lambda s: {"run_id": s.run, "key": "spelled", "value": "x"}, run),
    ("/api/2.0/mlflow/runs/log-batch", lambda s: {"run_id": s.run, "tags": [{"key": "spelled", "value": "x"}]}, run),
    ("/api/2.0/mlflow/experiments/update", lambda s: {"experiment_id": s.experiment, "new_name": s.new}, experiment),
    ("/api/2.0/mlflow/experiments/delete", lambda s: {"experiment_id": s.experiment}, experiment),
    ("/api/2.0/mlflow/registered-models/set-tag", lambda s: {"name": s.model, "key": "spelled", "value": "x"}, model),
    (
        "/api/2.0/mlflow/model-versions/transition-stage",
        lambda s: {"name": s.model, "version": "1", "stage": "Archived", "archive_existing_versions": False},
        model,
    ),
]


@pytest.fixture
def people(house: House) -> dict[str, httpx.Client]:
    return let_in(house, f"spelling-{secrets.token_hex(4)}")


@pytest.mark.parametrize(("path", "body", "look"), WRITES, ids=[write[0].partition("/mlflow/")[2] for write in WRITES])
def test_no_spelling_writes_for_a_viewer_or_outside_a_pattern(
    house: House,
    people: dict[str, httpx.Client],
    path: str,
    body: Callable[[Side], Sent],
    look: Callable[[House, Side], Any],
) -> None:
    inside, outside = furnish(house, INSIDE), furnish(house, OUTSIDE)
    for who, side in (
        ("anonymous", inside),
        ("viewer", inside),
        ("bounded", outside),
        ("seeing", outside),
        ("gone", inside),
    ):
        before = look(house, side)
        for spelled, sent in plain(path, body(side)):
            described = (who, spelled, dict(sent))
            assert send(people[who], spelled, sent).status_code < 500 or who != "anonymous", described
            assert look(house, side) == before, described
    before = look(house, inside)
    send(people["bounded"], path, {"json": body(inside)})
    assert look(house, inside) != before


def test_no_spelling_uploads_for_a_viewer_or_outside_a_pattern(house: House, people: dict[str, httpx.Client]) -> None:
    inside, outside = furnish(house, INSIDE), furnish(house, OUTSIDE)
    folder = house.folder / "mlartifacts"

    def files() -> set[str]:
        return {str(path) for path in folder.rglob("*") if path.is_file()}

    def targets(side: Side) -> Iterator[str]:
        beside = f"{inside.experiment}/{inside.run}/artifacts/../../../{side.experiment}/{side.run}/artifacts/new.txt"
        below = f"{side.experiment}/{side.run}/artifacts/new.txt"
        for root in ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/"):
            yield from (
                root + below,
                root + "/" + below,
                root + "./" + below,
                root + below.replace("/", "%2f"),
                root + below.replace("/", "%252f"),
                root + beside,
                root + beside.replace("..", "%2e%2e"),
                root + beside.replace("..", "%252e%252e"),
                root + beside.replace("/", "%5c"),
                root.replace("/artifacts/", "/%61rtifacts/") + below,
                "/" + root + below,
            )
            yield (
                root.replace("mlflow-artifacts/artifacts/", "mlflow/upload-artifact")
                + f"?run_uuid={side.run}&path=new.txt"
            )

    for who, side in (("viewer", inside), ("bounded", outside), ("seeing", outside), ("gone", inside)):
        before = files()
        for target in targets(side):
            for method in ("PUT", "POST"):
                send(people[who], target, {"method": method, "content": b"x"})
                assert files() == before, (who, method, target)
    before = files()
    for target in targets(inside):
        for method in ("PUT", "POST"):
            send(people["bounded"], target, {"method": method, "content": b"x"})
    assert files() > before


def test_what_a_caller_may_not_see_is_answered_as_what_is_not_there(
    house: House, people: dict[str, httpx.Client]
) -> None:
    bounded, side = people["bounded"], furnish(house, OUTSIDE)
    for path, name, there, never in (
        ("2.0/mlflow/runs/get", "run_id", side.run, "0" * 32),
        ("2.0/mlflow/experiments/get", "experiment_id", side.experiment, "123456789"),
        ("2.0/mlflow/experiments/get-by-name", "experiment_name", side.experiment_name, "outside-nothing"),
        ("2.0/mlflow/registered-models/get", "name", side.model, "outside-nothing"),
        ("2.0/mlflow/registered-models/get-latest-versions", "name", side.model, "outside-nothing"),
        ("2.0/mlflow/model-versions/get?version=1", "name", side.model, "outside-nothing"),
        ("2.0/mlflow/model-versions/get-download-uri?version=1", "name", side.model, "outside-nothing"),
        ("2.0/mlflow/registered-models/alias?alias=shadow", "name", side.model, "outside-nothing"),
        ("2.0/mlflow/artifacts/list", "run_id", side.run, "0" * 32),
        ("2.0/mlflow/metrics/get-history?metric_key=m", "run_id", side.run, "0" * 32),
    ):
        path, _, query = path.partition("?")
        more = dict([query.split("=")]) if query else {}
        unseen, absent = (bounded.get(f"/api/{path}", params={name: value, **more}) for value in (there, never))
        assert (unseen.status_code, unseen.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), path
        assert (absent.status_code, absent.text) == (404, unseen.text.replace(there, never)), path
        assert people["seeing"].get(f"/api/{path}", params={name: there, **more}).status_code == 200, path


def test_a_refusal_says_which_experiment_and_role(house: House, people: dict[str, httpx.Client]) -> None:
    side = furnish(house, OUTSIDE)
    tag = {"run_id": side.run, "key": "a", "value": "b"}
    answer = people["seeing"].post("/api/2.0/mlflow/runs/set-tag", json=tag)
    assert answer.status_code == 403
    assert f"may not write in the experiment '{side.experiment_name}'" in answer.json()["message"]
    assert "contributor or maintainer or admin" in answer.json()["message"]


def test_a_folder_of_files_can_not_be_claimed_by_a_new_experiment(
    house: House, people: dict[str, httpx.Client]
) -> None:
    side = furnish(house, OUTSIDE)
    claim = {"name": f"inside-{secrets.token_hex(4)}", "artifact_location": f"mlflow-artifacts:/{side.experiment}"}
    answer = people["bounded"].post("/api/2.0/mlflow/experiments/create", json=claim)
    assert answer.status_code == 403
    assert "may not choose where an experiment keeps its files" in answer.json()["message"]
    del claim["artifact_location"]
    assert people["bounded"].post("/api/2.0/mlflow/experiments/create", json=claim).status_code == 200


def test_a_trace_does_not_lead_to_files_beyond_its_own(house: House, people: dict[str, httpx.Client]) -> None:
    """MLflow keeps in tags of a trace where its files are, and the server reads them there."""
    inside, outside = furnish(house, INSIDE), furnish(house, OUTSIDE)
    traces = f"traces/{outside.trace}/artifacts"
    name = str(uuid.uuid4())
    kept = house.folder / "mlartifacts" / outside.experiment / traces / "attachments" / name
    kept.parent.mkdir(parents=True)
    kept.write_text("secret")
    place = f"mlflow-artifacts:/{outside.experiment}/{traces}"
    tag = {"key": "mlflow.artifactLocation", "value": place}
    new = trace_info(inside.experiment, f"tr-{secrets.token_hex(8)}")
    new["trace"]["trace_info"]["tags"] = {"k": "v", tag["key"]: place}
    old = {"experiment_id": inside.experiment, "timestamp_ms": 1, "request_metadata": [], "tags": [tag]}
    for answer in (
        people["bounded"].patch(f"/api/2.0/mlflow/traces/{inside.trace}/tags", json=tag),
        people["bounded"].patch(f"/api/3.0/mlflow/traces/{inside.trace}/tags", json=tag),
        people["bounded"].post("/api/3.0/mlflow/traces", json=new),
        people["bounded"].post("/api/2.0/mlflow/traces", json=old),
    ):
        assert answer.status_code == 403, answer.text
        assert "may not choose where a trace keeps its files" in answer.json()["message"]
    asked = {"request_id": inside.trace, "path": name}
    read = people["bounded"].get("/ajax-api/3.0/mlflow/get-trace-artifact", params=asked)
    assert "secret" not in read.text
    assert read.status_code >= 400
    asked = {"request_id": outside.trace, "path": name}
    read = house.http("vic").get("/ajax-api/3.0/mlflow/get-trace-artifact", params=asked)
    assert (read.status_code, read.text) == (200, "secret")
    other = {"key": "a", "value": "b"}
    assert people["bounded"].patch(f"/api/3.0/mlflow/traces/{inside.trace}/tags", json=other).status_code == 200


def test_a_call_that_names_two_things_needs_both(house: House, people: dict[str, httpx.Client]) -> None:
    inside, other, outside = furnish(house, INSIDE), furnish(house, INSIDE), furnish(house, OUTSIDE)
    metric = {"key": "m", "value": 1.0, "timestamp": 1, "step": 0}

    def calls(of: Side) -> Iterator[tuple[str, Sent]]:
        yield "runs/log-metric", {"run_id": inside.run, **metric, "model_id": of.logged_model}
        yield "runs/log-batch", {"run_id": inside.run, "metrics": [{**metric, "model_id": of.logged_model}]}
        yield "runs/outputs", {"run_id": inside.run, "models": [{"model_id": of.logged_model, "step": 0}]}
        yield "logged-models", {"experiment_id": inside.experiment, "name": "new", "source_run_id": of.run}
        yield "traces/link-to-run", {"run_id": inside.run, "trace_ids": [inside.trace, of.trace]}
        yield "model-versions/create", {"name": inside.model, "source": f"runs:/{of.run}/m", "run_id": of.run}

    for path, body in calls(outside):
        assert people["bounded"].post(f"/api/2.0/mlflow/{path}", json=body).status_code == 404, path
    for path, body in list(calls(outside))[:-1]:  # What is only shown needs to be seen.
        assert people["seeing"].post(f"/api/2.0/mlflow/{path}", json=body).status_code == 403, path
    for path, body in calls(other):
        assert people["bounded"].post(f"/api/2.0/mlflow/{path}", json=body).status_code == 200, path


@pytest.mark.parametrize(
    "steps", ["../../{outside}/traces/", "..%2f..%2f{outside}/traces/", "./../../", "a/b", "..", ""]
)
def test_the_id_of_a_trace_leads_nowhere(house: House, people: dict[str, httpx.Client], steps: str) -> None:
    """MLflow makes it a part of the path where the trace's files are."""
    inside, outside = furnish(house, INSIDE), furnish(house, OUTSIDE)
    named = steps.format(outside=outside.experiment) + (outside.trace if steps.endswith("/") else "")
    for who in ("bounded", "contributor"):
        answer = people[who].post("/api/3.0/mlflow/traces", json=trace_info(inside.experiment, named))
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer.text
    new = trace_info(inside.experiment, f"tr-{secrets.token_hex(16)}")
    assert people["bounded"].post("/api/3.0/mlflow/traces", json=new).status_code == 200


def test_what_may_be_seen_does_not_change_what_the_evidence_is(house: House, people: dict[str, httpx.Client]) -> None:
    """The files are in an experiment that the one who asks doesn't see."""
    target = bait(house)
    name, who = f"inside-{secrets.token_hex(6)}", f"only-{secrets.token_hex(4)}"
    with house.acting_as("ada") as client:
        client.create_registered_model(name)
        client.create_model_version(name, f"runs:/{target.run_id}/model", target.run_id, await_creation_for=0)
    reviewer, releaser = f"{who}-reviewer", f"{who}-releaser"
    for name_of, role in ((who, "contributor"), (reviewer, "reviewer"), (releaser, "releaser")):
        house.call("admin", "POST", "/principals", {"name": name_of, "roles": [f"{role}:{INSIDE}*"]})
        house.tokens[name_of] = house.call("admin", "POST", "/tokens", {"principal": name_of})["token"]
    asked = house.call(who, "POST", "/requests", {"model": name, "version": "1", "target": "stage:Production"}, 201)
    assert {file["path"] for file in asked["evidence"]["artifacts"]["files"]} == set(target.files)
    for name_of in (who, reviewer, releaser):
        assert house.http(name_of).get(f"/api/2.0/mlflow/runs/get?run_id={target.run_id}").status_code == 404
    house.call(reviewer, "POST", f"/requests/{asked['id']}/approve", {})
    done = house.call(releaser, "POST", f"/requests/{asked['id']}/promote", {})
    assert (done["state"], done["evidence"]["digest"]) == ("promoted", asked["evidence"]["digest"])
