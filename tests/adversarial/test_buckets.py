"""The same doors where the server keeps artifacts in S3: multipart and presigned uploads, and what others do there."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.adversarial.bait import FILES, good_run, refusals
from tests.house import ONE_APPROVAL, House

MPU = "2.0/mlflow-artifacts/mpu"


@dataclass(frozen=True)
class Store:
    """A house on S3: `proxied` through the server, or `direct`, where clients talk to the bucket."""

    house: House
    client: Any
    bucket: str

    def content(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def proxied(
    s3_server: str, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with opened(s3_server, "--artifacts-destination", new_database("sqlite"), tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(scope="module")
def direct(
    s3_server: str, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with opened(s3_server, "--default-artifact-root", new_database("sqlite"), tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(params=["proxied", "direct"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


@contextmanager
def opened(s3_server: str, option: str, database: str, home: Path) -> Iterator[Store]:
    environment = {
        "MLFLOW_S3_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    before = dict(os.environ)
    os.environ.update(environment)
    client = boto3.client("s3", endpoint_url=s3_server)
    bucket = f"bucket-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=bucket)
    house = House(home, database, option, f"s3://{bucket}/mlflow", environment=environment).open()
    house.apply_policy(ONE_APPROVAL)
    try:
        yield Store(house, client, bucket)
    finally:
        house.close()
        os.environ.clear()
        os.environ.update(before)


def registered(store: Store) -> tuple[str, str]:
    run_id = good_run(store.house)
    model = f"bucket-{run_id}"
    with store.house.acting_as("ada") as client:
        client.create_registered_model(model)
        client.create_model_version(model, f"runs:/{run_id}/model", run_id, await_creation_for=0)
    return model, run_id


def approve(store: Store, model: str) -> dict[str, Any]:
    asked = store.house.ask(model, "1", "stage:Production")
    given: dict[str, Any] = store.house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    assert given["evidence"]["artifacts"]["state"] == "hashed"
    return given


def folder(run_id: str) -> str:
    return f"mlflow/0/{run_id}/artifacts/model"


@pytest.mark.parametrize("twin", ["api", "ajax-api"])
def test_multipart_uploads_end_at_the_approval(proxied: Store, twin: str) -> None:
    store = proxied
    model, run_id = registered(store)
    where = f"0/{run_id}/artifacts/model"
    attacker = store.house.http("junior")
    begun = attacker.post(f"/{twin}/{MPU}/create/{where}", json={"path": "MLmodel", "num_parts": 1}).json()
    credential = begun["credentials"][0]
    etag = httpx.put(credential["url"], content=b"flavors: {evil: 1}", headers=credential.get("headers", {})).headers[
        "etag"
    ]
    asked = approve(store, model)
    parts = [{"part_number": 1, "etag": etag, "url": credential["url"]}]
    finish = {"path": "MLmodel", "upload_id": begun["upload_id"], "parts": parts}
    spellings = [where, f"{where}/", f"/{where}", f"0/%2e/{run_id}/artifacts/model", f"0/{run_id}/artifacts/mode%6c"]
    for spelling in spellings:
        for answer in (
            attacker.post(f"/{twin}/{MPU}/complete/{spelling}", json=finish),
            attacker.post(f"/{twin}/{MPU}/create/{spelling}", json={"path": "MLmodel", "num_parts": 1}),
            attacker.post(f"/{twin}/{MPU}/create/{spelling}", json={"path": "new/../MLmodel", "num_parts": 1}),
            attacker.post(f"/{twin}/{MPU}/abort/{spelling}", json={"path": "MLmodel", "upload_id": begun["upload_id"]}),
        ):
            assert answer.status_code in (400, 403, 404, 405, 308), answer.text
            if spelling == where:
                assert answer.status_code in (400, 403), answer.text
    assert store.content(f"{folder(run_id)}/MLmodel") == FILES["MLmodel"].encode()
    assert len(refusals(store.house, model, "artifacts.write_refused")) >= 3
    store.house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})


def test_nothing_is_put_or_deleted_in_the_bucket_through_the_server(proxied: Store) -> None:
    store = proxied
    model, run_id = registered(store)
    approve(store, model)
    attacker = store.house.http("junior")
    base = f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/model"
    for path in ("/MLmodel", "/new", "/data/weights.bin", "//MLmodel", "/%4dLmodel", "/data/%2e%2e/MLmodel"):
        for method in ("PUT", "DELETE"):
            answer = attacker.request(method, base + path, content=b"evil")
            assert answer.status_code in (400, 403), answer.text
    for above in (base, f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}", "/api/2.0/mlflow-artifacts/artifacts/0"):
        assert attacker.delete(above).status_code == 403
    for path, text in FILES.items():
        assert store.content(f"{folder(run_id)}/{path}") == text.encode()


@pytest.mark.parametrize("twin", ["api", "ajax-api"])
def test_the_server_signs_no_upload_over_approved_files(direct: Store, twin: str) -> None:
    """Where clients talk to the bucket themselves, those without keys of their own are given signed URLs."""
    store = direct
    model, run_id = registered(store)
    attacker = store.house.http("junior")
    url = f"/{twin}/2.0/mlflow/artifacts/presigned-upload-url"
    allowed = attacker.post(url, json={"run_id": run_id, "path": "model/MLmodel"})
    assert allowed.status_code == 200, allowed.text
    assert "junior" in store.house.ask(model, "1", "alias:champion")["excluded"]
    approve(store, model)
    for body in (
        {"run_id": run_id, "path": "model/MLmodel"},
        {"runId": run_id, "path": "model/new"},
        {"run_id": run_id, "path": "model//MLmodel"},
    ):
        answer = attacker.post(url, json=body)
        assert answer.status_code in (400, 403), answer.text
    assert attacker.post(url, json={"run_id": run_id, "path": "plots/roc.png"}).status_code == 200
    assert store.house.http("vic").post(url, json={"run_id": run_id, "path": "x"}).status_code == 403
    assert len(refusals(store.house, model, "artifacts.write_refused")) >= 2


def test_the_upload_of_the_user_interface_into_a_bucket(store: Store) -> None:
    model, run_id = registered(store)
    approve(store, model)
    url = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run_id}&path=model/MLmodel"
    assert store.house.http("junior").post(url, content=b"evil").status_code == 403
    assert store.content(f"{folder(run_id)}/MLmodel") == FILES["MLmodel"].encode()


@pytest.mark.parametrize("change", ["replaced", "added", "deleted"])
def test_what_others_do_in_the_bucket_is_named_at_promotion(store: Store, change: str) -> None:
    model, run_id = registered(store)
    asked = approve(store, model)
    at = f"{folder(run_id)}/data/weights.bin"
    match change:
        case "replaced":
            store.client.put_object(Bucket=store.bucket, Key=at, Body=b"b" * 100)
            says = "file data/weights.bin changed (100 bytes, was 100)"
        case "added":
            store.client.put_object(Bucket=store.bucket, Key=f"{folder(run_id)}/evil.py", Body=b"")
            says = "file evil.py is new"
        case _:
            store.client.delete_object(Bucket=store.bucket, Key=at)
            says = "file data/weights.bin is gone"
    refused = store.house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, 403)
    assert says in refused["message"]
    assert "needs 1 more approval" in refused["message"]


def test_an_upload_that_was_signed_before_the_approval_is_named_at_promotion(direct: Store) -> None:
    """A signed URL can't be taken back; what comes of it is seen like anything else in the bucket."""
    store = direct
    model, run_id = registered(store)
    signed = store.house.http("ada").post(
        "/api/2.0/mlflow/artifacts/presigned-upload-url", json={"run_id": run_id, "path": "model/MLmodel"}
    ).json()  # fmt: skip
    asked = approve(store, model)
    put = httpx.put(signed["presigned_url"], content=b"flavors: {evil: 1}", headers=signed.get("headers", {}))
    assert put.status_code == 200, put.text
    refused = store.house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, 403)
    assert "file MLmodel changed (18 bytes, was 12)" in refused["message"]


def test_a_storage_that_does_not_answer_voids_no_approval(new_database: Callable[[str], str], tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with opened(f"http://{host}:{port}", "--artifacts-destination", new_database("sqlite"), tmp_path) as store:
        model, _ = registered(store)
        asked = approve(store, model)
        server.stop()
        looked = store.house.call("vic", "GET", f"/requests/{asked['id']}")
        assert looked["state"] == "approved"
        assert [review["dismissed"] for review in looked["reviews"]] == [""]
        refused = store.house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, status=403)
        assert "can't be reached" in refused["message"]


def bounded(store: Store) -> tuple[str, str]:
    """Let somebody in who contributes within a pattern; returns their name and an experiment of theirs."""
    who = f"near-{secrets.token_hex(4)}"
    store.house.call("admin", "POST", "/principals", {"name": who, "roles": [f"contributor:{who}-*"]})
    store.house.tokens[who] = store.house.call("admin", "POST", "/tokens", {"principal": who})["token"]
    with store.house.acting_as(who) as client:
        client.create_registered_model(f"{who}-x")
        return who, client.create_experiment(f"{who}-e")


def register(store: Store, who: str, source: str, **named: str) -> httpx.Response:
    body = {"name": f"{who}-x", "source": source, **named}
    return store.house.http(who).post("/api/2.0/mlflow/model-versions/create", json=body)


def test_nobody_reads_the_bucket_by_a_source_beyond_their_bounds(store: Store) -> None:
    """The server has keys to all of the bucket: a version's source is read with them."""
    hidden = good_run(store.house)
    who, experiment = bounded(store)
    with store.house.acting_as(who) as client:
        mine = client.create_run(experiment).info
    base = f"s3://{store.bucket}"
    own = f"{base}/mlflow/{experiment}/{mine.run_id}/artifacts"
    others = (
        f"{base}/{folder(hidden)}", f"{base}/mlflow", base, f"{own}x", f"{own}/../../../0/{hidden}/artifacts/model",
        f"{own}/%2e%2e/%2e%2e/%2e%2e/0/{hidden}", f"{base}/{folder(hidden)}/{mine.run_id}", "gs://elsewhere/x",
        "wasbs://box@account.blob.core.windows.net/x", "http://127.0.0.1:1/x", f"runs:/{hidden}/model",
        f"mlflow-artifacts:/0/{hidden}/artifacts/model", "dbfs:/x", "hdfs://x/y",
    )  # fmt: skip
    for source in others:
        for named in ({}, {"run_id": mine.run_id}, {"run_id": hidden}):
            answer = register(store, who, source, **named)
            assert answer.status_code in (400, 403, 404), (source, named, answer.text)
    said = [register(store, who, f"{base}/mlflow/0/{run}/artifacts/model").json() for run in (hidden, "0" * 32)]
    assert said[0]["message"].replace(hidden, "RUN") == said[1]["message"].replace("0" * 32, "RUN")
    assert "`runs:/RUN_ID/PATH`" in said[0]["message"]
    assert store.house.http("ada").get(f"/api/2.0/mlflow/model-versions/search?filter=name='{who}-x'").json() == {}


def test_a_source_within_ones_bounds_is_registered(store: Store) -> None:
    who, experiment = bounded(store)
    with store.house.acting_as(who) as client:
        run = client.create_run(experiment).info
        client.log_text(run.run_id, "flavors: {}", "model/MLmodel")
        logged = client.create_logged_model(experiment, "m", run.run_id)
    own = f"s3://{store.bucket}/mlflow/{experiment}/{run.run_id}/artifacts/model"
    register(store, who, own).raise_for_status()
    register(store, who, own, run_id=run.run_id).raise_for_status()
    register(store, who, f"{run.artifact_uri}/model", run_id=run.run_id).raise_for_status()
    register(store, who, f"runs:/{run.run_id}/model", run_id=run.run_id).raise_for_status()
    register(store, who, logged.artifact_location, model_id=logged.model_id).raise_for_status()
    register(store, who, f"models:/{logged.model_id}", model_id=logged.model_id).raise_for_status()
    register(store, who, f"models:/{who}-x/1").raise_for_status()
    with store.house.acting_as(who) as client:
        client.create_prompt(f"{who}-p")
    prompt = {"name": f"{who}-p", "source": "prompt-template", "tags": [
        {"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "hi"},
    ]}  # fmt: skip
    store.house.http(who).post("/api/2.0/mlflow/model-versions/create", json=prompt).raise_for_status()
    elsewhere = {"name": registered(store)[0], "source": f"s3://{store.bucket}/elsewhere"}
    store.house.http("ada").post("/api/2.0/mlflow/model-versions/create", json=elsewhere).raise_for_status()
