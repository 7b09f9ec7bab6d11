"""What deploy/compose starts: two instances behind a load balancer, one of which is killed."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import mlflow
import pytest
from moto.server import ThreadedMotoServer

from tests.deploy.compose import Deployment, deployed
from tests.house import acting

#: Longer than the load balancer takes to notice: two checks, a second apart.
SECONDS = 4


@pytest.fixture(scope="module")
def deployment(new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("deployment")
    store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
            patch.setenv(variable, str(folder / "tls/certificate.pem"))
        running = deployed(folder, new_database("postgresql"), f"http://{host}:{port}")
        try:
            yield running
        finally:
            running.close()
            store.stop()


def test_a_promotion_through_the_load_balancer(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    front = deployment.front
    # As `--default-artifact-root` says, clients bring artifacts to the store themselves.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", deployment.store)
    with front.acting_as("ada") as client:
        run = client.create_run("0")
        client.log_text(run.info.run_id, "weights", "model/weights.txt")
        assert run.info.artifact_uri.startswith("s3://models/artifacts/")
        client.create_registered_model("in-compose")
        client.create_model_version("in-compose", f"runs:/{run.info.run_id}/model", run.info.run_id)
        with pytest.raises(mlflow.MlflowException, match=rf"PERMISSION_DENIED.*{front.uri}/lockgate/requests/"):
            client.set_registered_model_alias("in-compose", "champion", "1")
    [asked] = front.call("sue", "GET", "/requests?model=in-compose")["requests"]
    assert front.cli("sue", "approve", str(asked["id"])).returncode == 0
    promoted = front.cli("bot", "promote", str(asked["id"]))
    assert promoted.returncode == 0, promoted.stderr
    assert all(deployment.taken_by(name) for name in deployment.instances), front.server.log


def test_the_load_balancer_is_believed_and_callers_are_not(deployment: Deployment) -> None:
    front = deployment.front
    lying = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}
    answer = front.http("vic").get("/api/lockgate/v1/requests", headers=lying)
    assert "max-age" in answer.headers["strict-transport-security"]
    httpx.get(f"{front.uri}/api/lockgate/v1/requests", headers={**lying, "authorization": "Bearer lockgate_nobodys"})
    entries = front.call("admin", "GET", "/audit?max_results=20")["entries"]
    assert any("127.0.0.1" in str(entry) for entry in entries if entry["action"].startswith("sign_in"))
    assert not any("203.0.113.9" in str(entry) for entry in entries)
    assert front.http("vic").get("/api/lockgate/v1/requests", headers={"host": "elsewhere.example"}).status_code == 403


def test_what_is_secret_in_an_address_is_not_logged(deployment: Deployment) -> None:
    httpx.get(f"{deployment.front.uri}/lockgate/sign-in?token=open-sesame", follow_redirects=False)
    deadline = time.monotonic() + 10
    while "/lockgate/sign-in" not in deployment.front.server.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "open-sesame" not in deployment.front.server.log


def test_calls_go_on_while_an_instance_is_killed_and_comes_back(deployment: Deployment) -> None:
    front = deployment.front
    killed = deployment.instances["lockgate-1"]
    failures: list[str] = []
    stop = threading.Event()
    calls = 0
    with acting(front.uri, front.tokens["ada"]) as client:
        run = client.create_run("0").info.run_id

        def call_on() -> None:
            nonlocal calls
            while not stop.is_set():
                try:
                    client.log_metric(run, "step", calls, step=calls)
                    calls += 1
                except mlflow.MlflowException as error:
                    failures.append(str(error))

        caller = threading.Thread(target=call_on)
        caller.start()
        try:
            time.sleep(1)
            before = calls
            killed.kill()
            time.sleep(SECONDS)
        finally:
            stop.set()
            caller.join()
        assert failures == []
        assert before > 0
        assert calls > before + 10
        logged = client.get_metric_history(run, "step")
        assert {point.step for point in logged} == set(range(calls))
    name = front.new_model("after-the-kill")
    front.promote(name, "1", "alias:champion")

    killed.start()
    taken = deployment.taken_by("lockgate-1")
    deadline = time.monotonic() + 20
    while deployment.taken_by("lockgate-1") == taken:
        assert time.monotonic() < deadline, front.server.log[-3000:]
        front.call("vic", "GET", "/requests")
        time.sleep(0.2)
