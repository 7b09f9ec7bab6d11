"""Files of approved versions: nothing writes to them through the server, and what happens behind its back is seen."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from tests.adversarial.bait import FILES, Bait, bait, good_run, refusals, request_state
from tests.house import ONE_APPROVAL, House

PROXY = "mlflow-artifacts/artifacts"


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


#: Spellings of the files of an approved version, below its run's folder; how the router and MLflow read them is theirs
#: to say, but none may come to a write.
SPELLINGS = [
    "0/{run}/artifacts/model/MLmodel",
    "0/{run}/artifacts/model/new",
    "0/{run}/artifacts/model/data/weights.bin",
    "0/{run}/artifacts/model/data/deeper/new",
    "0/{run}/artifacts/mode%6c/MLmodel",
    "0/{run}/artifacts/mode%256c/MLmodel",
    "%30/{run}/artifacts/model/MLmodel",
    "0//{run}/artifacts/model/MLmodel",
    "/0/{run}/artifacts//model//MLmodel",
    "0/./{run}/artifacts/./model/MLmodel",
    "0/%2e/{run}/artifacts/model/MLmodel",
    "0/other/../{run}/artifacts/model/MLmodel",
    "0/other/%2e%2e/{run}/artifacts/model/MLmodel",
    "0/other/%252e%252e/{run}/artifacts/model/MLmodel",
    "0/other%2f..%2f{run}/artifacts/model/MLmodel",
    "0\\{run}\\artifacts\\model\\MLmodel",
    "0/{run}/artifacts/model%2fMLmodel",
    "0/{run}/artifacts/model/MLmodel%00",
    "0/{run}/artifacts/model",
]
SAID_PLAINLY = 6  # The first ones are no trick: they must be refused as what they are, and put on record.


@pytest.mark.parametrize("promoted", [False, True])
def test_no_spelling_of_a_path_writes_to_an_approved_version(house: House, promoted: bool) -> None:
    target = bait(house)
    asked = target.approved()
    if promoted:
        house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
    attacker = house.http("junior")
    plain = 0
    for twin in ("api", "ajax-api"):
        for number, spelling in enumerate(SPELLINGS):
            path = f"/{twin}/2.0/{PROXY}/{spelling.format(run=target.run_id)}"
            for method in ("PUT", "DELETE"):
                answer = attacker.request(method, path, content=b"evil")
                assert target.files == FILES, (method, path, answer.status_code)
                if number < SAID_PLAINLY:
                    assert answer.status_code == 403, (method, path, answer.text)
                    assert f"files of version 1 of '{target.model}' were approved" in answer.json()["message"]
                    plain += 1
    found = refusals(house, target.model, "artifacts.write_refused")
    assert len(found) >= plain
    assert {entry["actor"] for entry in found} == {"junior"}
    assert request_state(house, asked) == ("promoted" if promoted else "approved")


def test_no_folder_above_is_deleted(house: House) -> None:
    target = bait(house)
    target.approved()
    for folder in ("0/{run}/artifacts/model/", "0/{run}/artifacts", "0/{run}", "0", "0/", "."):
        answer = house.http("junior").delete(f"/api/2.0/{PROXY}/{folder.format(run=target.run_id)}")
        assert answer.status_code in (400, 403, 404, 405), answer.text
        assert target.files == FILES


def test_the_upload_of_the_user_interface_writes_nothing_either(house: House) -> None:
    target = bait(house)
    target.approved()
    plain = ("model/MLmodel", "model/new", "model/data/weights.bin", "model%2fMLmodel", "model//MLmodel")
    tricks = ("model/../model/MLmodel", "./model/MLmodel", "model/%2e%2e/model/MLmodel", "/model/MLmodel", "model")
    for path in (*plain, *tricks):
        url = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={target.run_id}&path={path}"
        answer = house.http("junior").post(url, content=b"evil")
        assert answer.status_code == 403 if path in plain else answer.status_code in (400, 403), (path, answer.text)
        assert target.files == FILES
    assert len(refusals(house, target.model, "artifacts.write_refused")) >= len(plain)


def test_what_lies_beside_an_approved_version_can_be_written(house: House) -> None:
    target = bait(house)
    target.approved()
    attacker = house.http("junior")
    for path in ("plots/roc.png", "model2/MLmodel", "modelling", "mode"):
        put = attacker.put(f"/api/2.0/{PROXY}/0/{target.run_id}/artifacts/{path}", content=b"fine")
        assert put.status_code == 200, put.text
    assert target.files == FILES


def test_before_the_approval_files_change_and_the_evidence_with_them(house: House) -> None:
    target = bait(house)
    asked = house.ask(target.model, "1", "stage:Production")
    house.http("junior").put(f"/api/2.0/{PROXY}/0/{target.run_id}/artifacts/model/MLmodel", content=b"flavors: {a: 1}")
    refused = house.call("sue", "POST", f"/requests/{asked['id']}/approve", {}, 409)
    assert "file MLmodel changed (15 bytes, was 12)" in refused["message"]
    now = house.call("sam", "GET", f"/requests/{asked['id']}")
    assert now["excluded"]["junior"] == "had a hand in the run behind this version"


def test_a_path_longer_than_a_column_is_sealed_too(house: House) -> None:
    """A folder so deep that its place does not fit where seals are kept."""
    deep = "/".join(["d" * 100] * 6)
    with house.acting_as("ada") as client:
        run_id = good_run(house)
        client.log_text(run_id, "good", f"{deep}/MLmodel")
        model = f"deep-{run_id}"
        client.create_registered_model(model)
        try:
            client.create_model_version(model, f"runs:/{run_id}/{deep}", run_id, await_creation_for=0)
        except RestException:
            return  # PostgreSQL does not take such a source.
    asked = house.ask(model, "1", "stage:Production")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    path = f"/api/2.0/{PROXY}/0/{run_id}/artifacts/{deep}/MLmodel"
    assert house.http("junior").put(path, content=b"evil").status_code == 403
    assert (house.folder / "mlartifacts" / "0" / run_id / "artifacts" / deep / "MLmodel").read_text() == "good"


def _same_size_and_time(folder: Path) -> None:
    weights = folder / "data/weights.bin"
    before = weights.stat()
    weights.write_text("b" * 100)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))


def _link_inside(folder: Path) -> None:
    (folder / "data/other.bin").write_text("b" * 100)
    (folder / "data/weights.bin").unlink()
    (folder / "data/weights.bin").symlink_to("other.bin")


def _link_outside(folder: Path) -> None:
    (folder / "data/weights.bin").unlink()
    (folder / "data/weights.bin").symlink_to("/etc/hostname")


def _whole_folder(folder: Path) -> None:
    folder.rename(folder.with_name("good"))
    folder.symlink_to("good", target_is_directory=True)
    (folder / "MLmodel").write_text("flavors: {b: 2}\n")


BEHIND: list[tuple[str, Callable[[Path], object], str]] = [
    ("changed", lambda f: (f / "MLmodel").write_text("flavors: {a: 1}\n"), "file MLmodel changed (16 bytes, was 12)"),
    ("truncated", lambda f: os.truncate(f / "data/weights.bin", 1), "file data/weights.bin changed (1 bytes, was 100)"),
    ("same size and time", _same_size_and_time, "file data/weights.bin changed (100 bytes, was 100)"),
    ("added", lambda f: (f / "evil.py").write_text("import os"), "file evil.py is new"),
    ("hidden", lambda f: (f / "data/.evil").write_text(""), "file data/.evil is new"),
    ("removed", lambda f: (f / "data/weights.bin").unlink(), "file data/weights.bin is gone"),
    ("renamed", lambda f: (f / "MLmodel").rename(f / "mlmodel"), "file MLmodel was renamed to mlmodel"),
    ("swapped", lambda f: (f / "data/weights.bin").rename(f / "MLmodel"), "file MLmodel changed (100 bytes, was 12)"),
    ("linked inside", _link_inside, "file data/weights.bin changed"),
    ("linked outside", _link_outside, "The link data/weights.bin leads out of the version's files."),
    ("folder linked", _whole_folder, "file MLmodel changed (16 bytes, was 12)"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "says"), [row[1:] for row in BEHIND], ids=[row[0] for row in BEHIND])
def test_what_changed_behind_the_servers_back_is_named_at_promotion(
    house: House, edit: Callable[[Path], object], says: str
) -> None:
    target = bait(house)
    asked = target.approved()
    edit(target.folder)
    with house.acting_as("bot") as client, pytest.raises(MlflowException) as refused:
        client.transition_model_version_stage(target.model, "1", "Production")
    for said in (says, "earlier approvals no longer count", "needs 1 more approval"):
        assert said in refused.value.message
    assert "needs 1 more approval" in house.call("bot", "POST", f"/requests/{asked['id']}/promote", {}, 403)["message"]


def _logged(house: House, client: MlflowClient, run_id: str, name: str, text: str) -> str:
    """Make a logged model of a run, with one file."""
    made = client.create_logged_model("0", name=name, source_run_id=run_id)
    put = house.http("ada").put(f"/api/2.0/{PROXY}/0/models/{made.model_id}/artifacts/MLmodel", content=text.encode())
    assert put.status_code == 200, put.text
    client.finalize_logged_model(made.model_id, "READY")
    return str(made.model_id)


def _served(client: MlflowClient, target: Bait, to: Path) -> str:
    """Return what somebody who loads production gets."""
    import mlflow

    uri = client.get_model_version_download_uri(target.model, "1")
    to.mkdir()
    return (Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(to))) / "MLmodel").read_text()


@pytest.mark.parametrize("promoted", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_second_logged_model_of_the_same_name_takes_nothing_over(
    house: House, tmp_path: Path, promoted: bool, before: bool
) -> None:
    """MLflow reads `runs:/RUN/model` as the newest logged model of that name, laid over the run's own folder."""
    run_id = good_run(house)
    model = f"twice-{run_id}"
    with house.acting_as("ada") as client:
        if before:
            _logged(house, client, run_id, "model", "flavors: {good: 1}\n")
        client.create_registered_model(model)
        client.create_model_version(model, f"runs:/{run_id}/model", run_id, await_creation_for=0)
    target = Bait(house, model, run_id)
    asked = target.approved()
    if promoted:
        house.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
    with house.acting_as("ada") as client:
        was = _served(client, target, tmp_path / "was")
        with pytest.raises(MlflowException) as refused:
            _logged(house, client, run_id, "model", "flavors: {evil: 1}\n")
        assert refused.value.error_code == "PERMISSION_DENIED"
        assert "were approved" in refused.value.message
        assert _served(client, target, tmp_path / "is") == was
        _logged(house, client, run_id, "other", "flavors: {}\n")  # one of another name is none of its business
    assert len(refusals(house, model, "artifacts.write_refused")) == 1


def test_the_logged_model_behind_a_run_source_is_not_deleted(house: House) -> None:
    run_id = good_run(house)
    model = f"behind-{run_id}"
    with house.acting_as("ada") as client:
        model_id = _logged(house, client, run_id, "model", "flavors: {good: 1}\n")
        client.create_registered_model(model)
        client.create_model_version(model, f"runs:/{run_id}/model", run_id, await_creation_for=0)
    house.promote(model, "1", "stage:Production")
    with house.acting_as("ada") as client:
        with pytest.raises(MlflowException, match="can't be deleted"):
            client.delete_logged_model(model_id)
        assert client.get_logged_model(model_id).model_id == model_id
