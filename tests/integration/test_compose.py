"""What deploy/compose starts, two instances behind a load balancer, one of which is killed; and the example for nginx."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import mlflow
import pytest
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer

from tests.adversarial.test_race import querying
from tests.deploy.compose import Deployment, deployed
from tests.house import acting

#: Longer than the load balancer takes to notice: two checks, a second apart.
SECONDS = 4


@dataclass
class Caller:
    """Somebody who logs a metric again and again."""

    client: MlflowClient
    run: str
    calls: int = 0
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def call_on(self) -> None:
        while not self.stop.is_set():
            try:
                self.client.log_metric(self.run, "step", self.calls, step=self.calls)
                self.calls += 1
            except mlflow.MlflowException as error:
                self.failures.append(str(error))


@contextmanager
def calling_on(client: MlflowClient, run: str) -> Iterator[Caller]:
    caller = Caller(client, run)
    thread = threading.Thread(target=caller.call_on)
    thread.start()
    try:
        yield caller
    finally:
        caller.stop.set()
        thread.join()


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


def test_the_instances_own_no_tables(deployment: Deployment) -> None:
    found = deployment.front.call("admin", "GET", "/doctor")
    assert (found["ok"], found["access"]) == (True, [])
    with querying(deployment.front.backend) as query:
        told = "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert query(told) == [("mlflow",)]
        assert query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [("lockgate_owner",)]


def test_the_load_balancer_is_believed_and_callers_are_not(deployment: Deployment) -> None:
    front = deployment.front
    lying = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}
    answer = front.http("vic").get("/api/lockgate/v1/requests", headers=lying)
    assert "max-age" in answer.headers["strict-transport-security"]
    httpx.get(f"{front.uri}/api/lockgate/v1/requests", headers={**lying, "authorization": "Bearer lockgate_nobodys"})
    entries = front.call("admin", "GET", "/audit?max_results=20")["entries"]
    assert any("127.0.0.1" in str(entry) for entry in entries if entry["action"].startswith("sign_in"))
    told = f"{deployment.nginx.uri}/api/lockgate/v1/requests"
    httpx.get(told, headers={**lying, "authorization": "Bearer lockgate_nobodys_either"})
    entries = front.call("admin", "GET", "/audit?max_results=20")["entries"]
    assert not any("203.0.113.9" in str(entry) for entry in entries)
    assert front.http("vic").get("/api/lockgate/v1/requests", headers={"host": "elsewhere.example"}).status_code == 403


def test_what_is_secret_in_an_address_is_not_logged(deployment: Deployment) -> None:
    httpx.get(f"{deployment.front.uri}/lockgate/sign-in?token=open-sesame", follow_redirects=False)
    deadline = time.monotonic() + 10
    while "/lockgate/sign-in" not in deployment.front.server.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "open-sesame" not in deployment.front.server.log


@pytest.mark.parametrize("proxy", ["haproxy", "nginx"])
def test_calls_go_on_while_an_instance_is_killed(deployment: Deployment, proxy: str) -> None:
    front = deployment.front
    uri = front.uri if proxy == "haproxy" else deployment.nginx.uri
    killed = deployment.instances["lockgate-1"]
    try:
        with acting(uri, front.tokens["ada"]) as client:
            run = client.create_run("0").info.run_id
            with calling_on(client, run) as caller:
                time.sleep(1)
                before = caller.calls
                killed.kill()
                time.sleep(SECONDS)
            # MLflow's client tries again what fails; while the instance is away, nothing does.
            with httpx.Client(base_url=uri, headers={"authorization": f"Bearer {front.tokens['ada']}"}) as once:
                answers = {once.get("/api/lockgate/v1/requests").status_code for _ in range(20)}
            assert answers == {200}
            assert caller.failures == []
            assert 0 < before < caller.calls - 10
            logged = client.get_metric_history(run, "step")
            assert {point.step for point in logged} == set(range(caller.calls))
        front.promote(front.new_model(), "1", "alias:champion")
    finally:
        killed.start()
    see_that_it_gets_calls(deployment, "lockgate-1")


def see_that_it_gets_calls(deployment: Deployment, instance: str) -> None:
    taken = deployment.taken_by(instance)
    deadline = time.monotonic() + 20
    while deployment.taken_by(instance) == taken:
        assert time.monotonic() < deadline, deployment.front.server.log[-3000:]
        deployment.front.call("vic", "GET", "/requests")
        time.sleep(0.1)


def test_a_body_that_is_too_large_is_refused_by_lockgate_itself(deployment: Deployment) -> None:
    for uri in (deployment.front.uri, deployment.nginx.uri):
        token = deployment.front.tokens["ada"]
        refused = httpx.post(
            f"{uri}/api/2.0/mlflow/runs/create",
            headers={"authorization": f"Bearer {token}"},
            content=b'{"tags": "' + b"x" * 11_000_000 + b'"}',
        )
        assert refused.status_code == 413
        assert "--max-body-mb" in refused.json()["message"]
