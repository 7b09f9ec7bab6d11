"""Attacks that once succeeded, or nearly: each was found by somebody who tried, and none may come back."""

import hashlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException

from tests.adversarial.bait import FILES, PRODUCTION, Bait, bait, good_run
from tests.house import NO_RULES, ONE_APPROVAL, House
from tests.integration.test_gate import refusal

CHAMPION = "alias:champion"

Found = TypeVar("Found")


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def act(house: House, who: str, asked: dict[str, Any], what: str, status: int | None = None, **body: Any) -> Any:
    return house.call(who, "POST", f"/requests/{asked['id']}/{what}", body, status)


def artifact(house: House, who: str, method: str, path: str, content: bytes = b"evil") -> httpx.Response:
    return house.http(who).request(method, f"/api/2.0/mlflow-artifacts/artifacts/0/{path}", content=content)


def covering(house: House, run_id: str, name: str, files: dict[str, str], by: str = "ada") -> None:
    """Make a logged model, which MLflow lays over what its run has in a folder of that name."""
    with house.acting_as(by) as client:
        made = client.create_logged_model("0", name=name, source_run_id=run_id)
    for path, text in files.items():
        artifact(house, by, "PUT", f"models/{made.model_id}/artifacts/{path}", text.encode()).raise_for_status()


def registered(house: House, source: str, folder: str = "model") -> Bait | None:
    """Register a version as no client of MLflow's would; None if the registry does not take it.

    Args:
        house: The house.
        source: Where its files are, with `{run}` for the run.
        folder: The same folder below the run's, as an URL has it.
    """
    run_id = good_run(house)
    for path, text in FILES.items():
        artifact(house, "ada", "PUT", f"{run_id}/artifacts/{folder}/{path}", text.encode()).raise_for_status()
    ada, model = house.http("ada"), f"attacked-{secrets.token_hex(6)}"
    ada.post("/api/2.0/mlflow/registered-models/create", json={"name": model}).raise_for_status()
    body = {"name": model, "source": source.format(run=run_id), "run_id": run_id}
    made = ada.post("/api/2.0/mlflow/model-versions/create", json=body)
    assert made.status_code in (200, 400), made.text
    return Bait(house, model, run_id) if made.is_success else None


def downloaded(house: House, model: str, to: Path) -> dict[str, bytes]:
    """Return what version 1 is made of, without what MLflow's client itself writes beside it."""
    import mlflow

    with house.acting_as("vic"):
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model}/1", dst_path=str(to)))
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != "registered_model_meta")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


# Files


@pytest.mark.parametrize("folder", ["model", "model/data"])
def test_the_manifest_lists_what_is_downloaded(house: House, tmp_path: Path, folder: str) -> None:
    """MLflow lays a logged model of the name not over the run's files, but in a folder of that name below them."""
    target = bait(house, source=f"runs:/{{run}}/{folder}")
    covering(house, target.run_id, "model", {"MLmodel": "flavors: {other: 1}\n", "data/extra.bin": "b"})
    asked = house.ask(target.model, "1", PRODUCTION)
    listed = {file["path"]: file["sha256"] for file in asked["evidence"]["artifacts"]["files"]}
    served = downloaded(house, target.model, tmp_path)
    assert listed == {path: hashlib.sha256(content).hexdigest() for path, content in served.items()}
    assert "model/data/extra.bin" in listed


def test_a_later_logged_model_covers_no_folder_below_its_name(house: House) -> None:
    target = bait(house, source="runs:/{run}/model/data")
    target.approved()
    with pytest.raises(MlflowException) as refused:
        covering(house, target.run_id, "model", {}, by="junior")
    assert refused.value.get_http_status_code() == 403


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("RUNS:/{run}/model", "model"),
        ("runs:/{run}/model%3Fx", "model%3Fx"),
        ("mlflow-artifacts:/0/{run}/artifacts/model%3Fx", "model%3Fx"),
        ("MLFLOW-ARTIFACTS:/0/{run}/artifacts/model", "model"),
        ("runs:/{run}//model/", "model"),
    ],
)
def test_no_spelling_of_a_source_leaves_its_files_open(house: House, source: str, folder: str) -> None:
    target = registered(house, source, folder)
    if target is None:
        return
    asked = target.approved()
    assert {file["path"] for file in asked["evidence"]["artifacts"]["files"]} == set(FILES)
    for method, path in (
        ("PUT", "/MLmodel"),
        ("PUT", "/new"),
        ("DELETE", "/MLmodel"),
        ("DELETE", ""),
        ("DELETE", "/.."),
    ):
        answer = artifact(house, "junior", method, f"{target.run_id}/artifacts/{folder}{path}")
        assert answer.status_code in ((400, 403) if path == "/.." else (403,)), (method, path, answer.text)
    if source.lower().startswith("runs:") and folder == "model":
        with pytest.raises(MlflowException, match="were approved"):
            covering(house, target.run_id, "model", {}, by="junior")


def eventually(look: Callable[[], Found | None]) -> Found:
    """Look again until there is something, for half a minute."""
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)
    return found


def begin_upload(target: Bait, file: str) -> tuple[socket.socket, Path]:
    """Upload 1 byte of 4; returns the connection, and what MLflow has of the file by now."""
    where = urlsplit(target.house.uri)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    connection.sendall(
        f"PUT /api/2.0/mlflow-artifacts/artifacts/0/{target.run_id}/artifacts/model/{file} HTTP/1.1\r\n"
        f"Host: {where.netloc}\r\nAuthorization: Bearer {target.house.tokens['ada']}\r\n"
        "Content-Length: 4\r\nConnection: close\r\n\r\ne".encode()
    )
    return connection, eventually(lambda: next(target.folder.glob(".artifact.uploading.*"), None))


def end_upload(connection: socket.socket) -> bytes:
    connection.sendall(b"vil")
    answer = b""
    while received := connection.recv(4096):
        answer += received
    return answer


def test_nothing_is_approved_while_files_are_uploaded(house: House) -> None:
    target = bait(house)
    upload, _ = begin_upload(target, "MLmodel")
    with closing(upload):
        asked = house.ask(target.model, "1", PRODUCTION)
        refused = act(house, "sue", asked, "approve", 409)
        assert "still being hashed" in refused["message"]
        assert end_upload(upload).startswith(b"HTTP/1.1 200")
    # Until the files have been hashed again, it says so.
    eventually(lambda: "The evidence has changed" in act(house, "sue", asked, "approve", 409)["message"])


def test_an_upload_does_not_end_after_the_approval(house: House) -> None:
    """One that is so slow that what there is of it was taken for what a crash left."""
    target = bait(house)
    upload, begun = begin_upload(target, "MLmodel")
    with closing(upload):
        os.utime(begun, (0, 0))
        asked = target.approved()
        act(house, "bot", asked, "promote")
        assert end_upload(upload).startswith(b"HTTP/1.1 403")
    assert target.files == FILES


def test_what_served_before_a_rule_did_is_sealed_by_the_rule(house: House) -> None:
    """A rollback may go back to it."""
    house.apply_policy(NO_RULES)
    target = bait(house)
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(target.model, "champion", "1")
    path = f"{target.run_id}/artifacts/model/MLmodel"
    assert artifact(house, "ada", "PUT", path, FILES["MLmodel"].encode()).status_code == 200
    house.apply_policy(ONE_APPROVAL)
    assert artifact(house, "junior", "PUT", path).status_code == 403
    with house.acting_as("ada") as client:
        house.new_version(client, target.model)
    house.promote(target.model, "2", CHAMPION)
    assert artifact(house, "junior", "PUT", path).status_code == 403
    assert target.files == FILES


# Evidence


def test_the_incumbent_is_what_was_approved_whatever_its_run_says_now(house: House) -> None:
    gates = """\
    gates:
      - {name: no-regression, expr: "incumbent == null || metrics.val_auc >= incumbent.metrics.val_auc"}
      - {name: data, same_dataset: true}
"""
    house.apply_policy(ONE_APPROVAL + gates)
    with house.acting_as("ada") as client:

        def log(run_id: str, auc: float, dataset: str) -> None:
            client.log_metric(run_id, "val_auc", auc)
            client.log_inputs(run_id, [DatasetInput(Dataset("d", dataset, "local", "here"), [])])

        model = house.new_model(versions=2)
        served, worse = (str(client.get_model_version(model, v).run_id) for v in "12")
        log(served, 0.95, "D1")
        house.promote(model, "1", PRODUCTION)
        log(worse, 0.6, "D2")
        asked = house.ask(model, "2", PRODUCTION)
        log(served, 0.1, "D2")
        log(worse, 0.6, "D1")
    again = house.call("ada", "GET", f"/requests/{asked['id']}")
    for looked in (asked, again):
        assert [gate["outcome"] for gate in looked["gates"]] == ["failed", "failed"]
    assert "0.95" in again["gates"][0]["explanation"]


def test_who_uploads_to_a_logged_model_that_covers_a_version_does_not_approve_it(house: House) -> None:
    target = bait(house)
    with house.acting_as("ada") as client:
        made = client.create_logged_model("0", name="model", source_run_id=target.run_id)
    artifact(house, "sue", "PUT", f"models/{made.model_id}/artifacts/weights.bin").raise_for_status()
    asked = house.ask(target.model, "1", PRODUCTION)
    assert "sue" in asked["excluded"]
    assert "had a hand" in act(house, "sue", asked, "approve", 403)["message"]
    assert act(house, "sam", asked, "approve")["state"] == "approved"


def test_a_refused_approval_is_no_look_at_the_evidence(house: House) -> None:
    target = bait(house)
    asked = house.ask(target.model, "1", PRODUCTION)

    def change(auc: float) -> None:
        with house.acting_as("ada") as client:
            client.log_metric(target.run_id, "val_auc", auc)

    change(0.1)
    for who in ("sue", "sam", "sue"):
        refused = act(house, who, asked, "approve", 409)
        assert refused["details"]["changes"] == ["metrics.val_auc was 0.99, is 0.1"]
    house.call("sam", "GET", f"/requests/{asked['id']}")
    assert act(house, "sam", asked, "approve")["state"] == "approved"
    change(0.2)
    refused = act(house, "sue", asked, "approve", 409)
    act(house, "sue", asked, "approve", 409, evidence_digest=asked["evidence"]["digest"])
    given = act(house, "sue", asked, "approve", evidence_digest=refused["details"]["evidence_digest"])
    assert given["state"] == "approved"


def test_the_same_approval_twice_is_one(house: House) -> None:
    asked = house.ask(house.new_model(), "1", PRODUCTION)
    for _ in range(2):
        given = act(house, "sue", asked, "approve")
        assert [review["reviewer"] for review in given["reviews"]] == ["sue"]
    assert len(act(house, "sue", asked, "approve", comment="and I mean it")["reviews"]) == 2


# Emergencies, holds, freezes


def break_glass(house: House, model: str) -> int:
    body = {"model": model, "version": "1", "target": CHAMPION, "reason": "production is down"}
    return int(house.call("oz", "POST", "/break-glass", body)["break_glass"])


def test_break_glass_is_reviewed_by_whom_the_rule_asks_and_not_by_who_made_the_version(house: House) -> None:
    number = break_glass(house, house.new_model(by="sue"))
    for who in ("sue", "rex", "oz"):
        house.call(who, "POST", f"/break-glass/{number}/review", {"verdict": "approve"}, 403)
    house.call("sam", "POST", f"/break-glass/{number}/review", {"verdict": "approve"})


def test_who_broke_the_glass_does_not_lift_the_hold_of_its_rejection(house: House) -> None:
    model = house.new_model()
    number = break_glass(house, model)
    house.call("sam", "POST", f"/break-glass/{number}/review", {"verdict": "reject"})
    (hold,) = [one["id"] for one in house.call("vic", "GET", "/holds")["holds"] if one["model"] == model]
    refused = house.call("oz", "DELETE", f"/holds/{hold}", None, 403)
    assert "somebody else lifts it" in refused["message"]
    house.call("rex", "DELETE", f"/holds/{hold}")


@pytest.mark.parametrize("rules", [NO_RULES, ONE_APPROVAL + "    mode: audit\n"], ids=["no rule", "audit"])
def test_a_hold_binds_where_no_rule_does(house: House, rules: str) -> None:
    house.apply_policy(rules)
    model = house.new_model(versions=2)
    house.call("sue", "POST", "/holds", {"model": model, "version": "1", "reason": "biased"})
    with house.acting_as("bot") as client:
        for target in (CHAMPION, PRODUCTION):
            refused = refusal(client, model, "1", target)
            assert refused.get_http_status_code() == 403
            assert "Version 1 is on hold" in refused.message
        client.set_registered_model_alias(model, "champion", "2")
        client.transition_model_version_stage(model, "2", "Production")


@pytest.mark.parametrize("year", ["0001", "9999"])
@pytest.mark.parametrize("zone", ["Z", "+14:00", "-14:00"])
def test_a_freeze_at_the_end_of_time_is_bad_input(house: House, year: str, zone: str) -> None:
    at = f"{year}-{'01-01T00:00:00' if year == '0001' else '12-31T23:59:59'}{zone}"
    for span in ({"to": at}, {"from": at, "to": "2999-01-01T00:00:00Z"}):
        house.call("oz", "POST", "/freezes", {"models": "nothing-*", "reason": "r", **span}, 400)
    house.call("oz", "GET", "/freezes")


# Who only serves


@pytest.mark.parametrize("who", ["vic", "relay"])
def test_who_only_serves_never_gets_what_nobody_approved(house: House, who: str) -> None:
    model = house.new_model(versions=2)
    with house.acting_as(who) as client:
        assert client.get_latest_versions(model) == []
        with pytest.raises(MlflowException):
            client.get_model_version_by_alias(model, "latest")
    house.promote(model, "1", PRODUCTION)
    found = {}
    for caller in (who, "ada"):
        with house.acting_as(caller) as client:
            found[caller] = (
                sorted(v.version for v in client.get_latest_versions(model)),
                [v.version for v in client.get_latest_versions(model, ["None"])],
                client.get_model_version_by_alias(model, "latest").version,
            )
    assert found == {who: (["1"], [], "1"), "ada": (["1", "2"], ["2"], "2")}


def test_files_of_a_run_that_an_experiment_is_laid_into_have_their_uploader_as_author(house: House) -> None:
    """An experiment may keep its runs' files anywhere, also where a version's are."""
    target = bait(house)
    with house.acting_as("sue") as client:
        into = client.create_experiment(f"laid-{secrets.token_hex(4)}", artifact_location=str(target.folder))
        run = client.create_run(into).info.run_id
    asked = {"run_uuid": run, "path": "evil.pkl"}
    sent = house.http("sue").post("/ajax-api/2.0/mlflow/upload-artifact", params=asked, content=b"evil")
    assert sent.status_code == 200, sent.text
    request = house.ask(target.model, "1", PRODUCTION)
    assert any(file["path"].endswith("evil.pkl") for file in request["evidence"]["artifacts"]["files"])
    assert "had a hand in" in act(house, "sue", request, "approve", 403)["message"]


def test_no_answer_quotes_a_statement(house: House) -> None:
    name = f"twice-{secrets.token_hex(4)}"
    with house.acting_as("ada") as client:
        client.create_experiment(name)
        other = client.create_experiment(f"{name}-other")
        with pytest.raises(MlflowException, match="already exists") as refused:
            client.create_experiment(name)
        assert "SQL" not in refused.value.message
        with pytest.raises(MlflowException) as refused:
            client.rename_experiment(other, name)
        assert "SQL" not in refused.value.message


def test_no_regular_expression_holds_up_a_server_on_sqlite(house: House) -> None:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    asked = {"locations": [place], "filter": "tags.boom RLIKE '^(a+)+$'"}
    answer = house.http("vic").post("/api/3.0/mlflow/traces/search", json=asked)
    if house.backend.startswith("sqlite"):
        assert (answer.status_code, "no RLIKE" in answer.text) == (400, True), answer.text
    else:
        assert answer.status_code == 200, answer.text
    asked["filter"] = "tags.boom LIKE '% rlike %'"
    assert house.http("vic").post("/api/3.0/mlflow/traces/search", json=asked).status_code == 200
