"""The server: taking over a database and giving it back, first start, workspaces, prefixes, what is left out."""

import re
import socket
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from mlflow.exceptions import MlflowException

from tests.conftest import BACKENDS
from tests.house import ADMIN_TOKEN, House, acting, form_of, stock_server

pytestmark = pytest.mark.long

NewDatabase = Callable[[str], str]

HIGHER = """\
version: 1
rules:
  - name: higher
    models: "*"
    targets: [stage:Production, alias:champion]
    gates: [{name: auc-floor, expr: "metrics.val_auc >= 0.95"}]
"""


@contextmanager
def opened(folder: Path, backend: str, *options: str, **environment: str):
    house = House(folder, backend, *options, environment=environment).open()
    try:
        yield house
    finally:
        house.close()


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_stock_database_is_taken_over_and_could_be_taken_back(
    kind: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    backend = new_database(kind)
    stock = stock_server(tmp_path, backend.replace("postgresql://", "postgresql+psycopg://"))
    stock.start()
    with acting(stock.uri, None) as client:
        client.create_registered_model("old")
        for _ in range(3):
            House.new_version(client, "old")
        client.transition_model_version_stage("old", 1, "Production")
        client.transition_model_version_stage("old", 2, "Production")
        client.set_registered_model_alias("old", "champion", "1")
    stock.stop()

    with opened(tmp_path / "lockgate", backend) as house:
        assert "Took over 1 registered model(s)" in house.server.log
        held = house.call("vic", "GET", "/models/old/history")["history"]
        assert [(h["target"], h["version"], h["how"], h["by"]) for h in held] == [
            ("alias:champion", "1", "adopted", None),
            ("stage:Production", "1", "adopted", None),
            ("stage:Production", "2", "adopted", None),
        ]
        tried = house.call("vic", "POST", "/policies/simulate", {"source": HIGHER, "model": "old"})
        assert [(m["how"], m["evidence"], m["outcome"]) for m in tried["moves"]] == [("adopted", "now", "refused")] * 3
        assert all("metrics.val_auc is 0.9" in m["unmet"][0] for m in tried["moves"])
        house.promote("old", "3", "stage:Production")
        with house.acting_as("vic") as client:
            stages = {v.version: v.current_stage for v in client.search_model_versions("name='old'")}
            assert stages == {"1": "Archived", "2": "Archived", "3": "Production"}
        house.call("oz", "POST", "/models/old/rollback", {"target": "stage:Production", "reason": "as before"})

        taken_away = house.cli("admin", "doctor", "--remove-guard", "--backend-store-uri", backend)
        assert taken_away.returncode == 0, taken_away.stderr
        assert house.http(None).get("/readyz").status_code == 503

    stock = stock_server(tmp_path, backend.replace("postgresql://", "postgresql+psycopg://"))
    stock.start()
    with acting(stock.uri, None) as client:
        assert client.get_model_version("old", "2").current_stage == "Production"
        assert client.get_model_version_by_alias("old", "champion").version == "1"
        client.delete_registered_model("old")
        client.create_registered_model("old")
        House.new_version(client, "old")
        client.set_registered_model_alias("old", "champion", "1")
    stock.stop()

    # What was made under the old name behind our back is another model.
    with opened(tmp_path / "again", backend) as house:
        held = house.call("vic", "GET", "/models/old/history")["history"]
        told = [(h["target"], h["version"], h["how"]) for h in held if not h["model_deleted"]]
        assert told == [("alias:champion", "1", "adopted")]
        assert [h["how"] for h in held if h["model_deleted"]].count("rollback") == 1
        tried = house.call("vic", "POST", "/policies/simulate", {"source": HIGHER, "model": "old"})
        assert [(m["how"], m["evidence"]) for m in tried["moves"]] == [
            ("adopted", "now"),
            ("rollback", None),
            ("promotion", "frozen"),
        ]
        assert tried["totals"]["left_out"] == 3


def test_the_first_start_prints_a_url_that_signs_in_once(new_database: NewDatabase, tmp_path: Path) -> None:
    house = House(tmp_path, new_database("sqlite"))
    house.server.environment.pop("LOCKGATE_ADMIN_TOKEN")
    house.server.start()
    try:
        found = re.search(r"/lockgate/sign-in\?token=\S+", house.server.log)
        assert found is not None
        with httpx.Client(base_url=house.uri, follow_redirects=False) as browser:
            asked = browser.get("/lockgate/requests?x=1", headers={"accept": "text/html"})
            assert asked.headers["location"] == "/lockgate/sign-in?next=/lockgate/requests%3Fx%3D1"
            entered = browser.get(found[0])
            assert "httponly" in entered.headers["set-cookie"].lower()
            assert "samesite=lax" in entered.headers["set-cookie"].lower()
            token = re.search(r"lockgate_[\w-]+", entered.text)
            assert token is not None
            made = token[0]
            for headers in ({"origin": "https://elsewhere.example"}, {"sec-fetch-site": "cross-site"}, {}):
                refused = browser.post("/api/lockgate/v1/tokens", json={"principal": "admin"}, headers=headers)
                assert refused.status_code == 403
            assert browser.get("/").status_code == 200
            browser.post("/lockgate/sign-out", data=form_of(entered), headers={"origin": house.uri})
            assert browser.get("/api/lockgate/v1/requests").status_code == 401
        with httpx.Client(base_url=house.uri) as another:
            assert another.get(found[0]).status_code == 401
            bearer = {"Authorization": f"Bearer {made}"}
            assert another.get("/api/lockgate/v1/requests", headers=bearer).status_code == 200
            for wanted, leads in (
                ("/lockgate/requests", "/lockgate/requests"),
                ("//evil.example", "/"),
                ("http://x", "/"),
            ):
                form = {**form_of(another.get("/lockgate/sign-in")), "token": made, "next": wanted}
                signed_in = another.post("/lockgate/sign-in", data=form, headers={"origin": house.uri})
                assert (signed_in.status_code, signed_in.headers["location"]) == (303, leads)
        house.server.kill()
        before = len(house.server.log)
        house.server.start()
        assert "sign-in?token" not in house.server.log[before:]
    finally:
        house.close()


def test_what_was_wrong_with_the_guard_is_said_if_there_was_one(new_database: NewDatabase, tmp_path: Path) -> None:
    house = House(tmp_path, new_database("sqlite"))
    try:
        house.server.start()
        assert "Put the guard into the database.\n" in house.server.log
        house.server.stop()
        house.sql("DROP TRIGGER lockgate_guard_content")
        house.server.start()
        assert "Put the guard into the database. The trigger lockgate_guard_content is missing." in house.server.log
    finally:
        house.close()


def test_workspaces_keep_models_apart(new_database: NewDatabase, tmp_path: Path) -> None:
    with opened(tmp_path, new_database("sqlite"), "--enable-workspaces") as house:
        admin = house.http("admin")
        admin.post("/api/3.0/mlflow/workspaces", json={"name": "team-b"}).raise_for_status()
        assert house.http("ada").post("/api/3.0/mlflow/workspaces", json={"name": "team-c"}).status_code == 403
        asked = {}
        for workspace in ("default", "team-b"):
            ada = httpx.Client(
                base_url=house.uri,
                headers={"Authorization": f"Bearer {house.tokens['ada']}", "X-MLFLOW-WORKSPACE": workspace},
            )
            with ada:
                api = "/api/2.0/mlflow"
                ada.post(f"{api}/registered-models/create", json={"name": "same"}).raise_for_status()
                experiment = ada.post(f"{api}/experiments/create", json={"name": "e"}).json()["experiment_id"]
                run = ada.post(f"{api}/runs/create", json={"experiment_id": experiment}).json()["run"]["info"]
                body = {"name": "same", "source": f"runs:/{run['run_id']}/m", "run_id": run["run_id"]}
                ada.post(f"{api}/model-versions/create", json=body).raise_for_status()
                body = {"name": "same", "version": "1", "stage": "Production"}
                refused = ada.post(f"{api}/model-versions/transition-stage", json=body)
                assert refused.status_code == 403, refused.text
                found = ada.get("/api/lockgate/v1/requests").json()["requests"]
                assert len(found) == 1
                asked[workspace] = found[0]["id"]
        assert asked["default"] != asked["team-b"]
        # Outside its workspace a request is not there.
        house.call("sue", "POST", f"/requests/{asked['team-b']}/approve", {}, 404)
        house.call("sue", "POST", f"/requests/{asked['default']}/approve", {}, 200)
        refused = admin.delete("/api/3.0/mlflow/workspaces/team-b?mode=CASCADE")
        assert refused.status_code == 403
        assert "without any gate" in refused.json()["message"]
        # What serves in any workspace is sealed when the server starts, although nobody's call has chosen one then.
        team_b = {"Authorization": f"Bearer {house.tokens['sue']}", "X-MLFLOW-WORKSPACE": "team-b"}
        ours = f"{house.uri}/api/lockgate/v1/requests/{asked['team-b']}"
        httpx.post(f"{ours}/approve", headers=team_b, json={}).raise_for_status()
        bot = {**team_b, "Authorization": f"Bearer {house.tokens['bot']}"}
        httpx.post(f"{ours}/promote", headers=bot, json={}).raise_for_status()
        house.server.stop()
        house.server.start()
        assert httpx.get(ours, headers=bot).json()["state"] == "promoted"


def test_everything_moves_under_a_static_prefix(new_database: NewDatabase, tmp_path: Path) -> None:
    house = House(tmp_path, new_database("sqlite"), "--static-prefix", "/ml")
    house.server.start()
    try:
        bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        with httpx.Client(base_url=house.uri, headers=bearer) as client:
            for path in ("/ml/health", "/ml/healthz", "/healthz", "/readyz", "/ml/api/lockgate/v1/requests", "/ml/"):
                assert client.get(path).status_code == 200, path
            client.post("/ml/api/2.0/mlflow/registered-models/create", json={"name": "m"}).raise_for_status()
            assert client.get("/api/lockgate/v1/requests").status_code == 404
        assert httpx.get(f"{house.uri}/ml/api/lockgate/v1/requests").status_code == 401
    finally:
        house.close()


def test_another_database_may_hold_the_registry(new_database: NewDatabase, tmp_path: Path) -> None:
    registry = new_database("sqlite")
    with opened(tmp_path, new_database("sqlite"), "--registry-store-uri", registry) as house:
        model = house.new_model()
        asked = house.ask(model, "1", "stage:Production")
        assert asked["evidence"]["metrics"] == {"val_auc": 0.9}
        assert asked["excluded"].keys() == {"ada"}
        assert house.promote(model, "1", "stage:Production")["state"] == "promoted"


def test_the_policy_of_the_command_line_is_in_force_and_a_bad_one_stops_the_start(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("version: 1\nrules: []\n")
    bad.write_text("version: 1\nrules:\n  - nam: x\n")
    backend = new_database("sqlite")
    with opened(tmp_path, backend, "--policy", str(good)) as house:
        assert house.call("vic", "GET", "/policies")["source"] == good.read_text()
    house = House(tmp_path, backend, "--policy", str(bad))
    with pytest.raises(RuntimeError, match=r"line 3: rules\.0\.nam: there is no such setting here"):
        house.server.start()
    assert "Traceback" not in house.server.log


def test_a_taken_port_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        house = House(tmp_path, f"sqlite:///{tmp_path}/never.db")
        house.server.environment.pop("LOCKGATE_ADMIN_TOKEN")
        house.server.command = [*house.server.command, "--port", str(taken.getsockname()[1])]
        with pytest.raises(RuntimeError, match="Choose another port"):
            house.server.start()
    assert "sign-in" not in house.server.log
    assert not (tmp_path / "never.db").exists()


def test_stores_that_are_no_database_are_refused_with_a_sentence(tmp_path: Path) -> None:
    for backend, says in (("./mlruns", "sqlite:///FILE"), ("mysql://u@h/d", "not on mysql")):
        house = House(tmp_path, backend)
        with pytest.raises(RuntimeError, match=says):
            house.server.start()
        assert "Traceback" not in house.server.log


def test_jobs_and_the_assistant_are_off(house: House) -> None:
    admin = house.http("admin")
    for path in ("/ajax-api/3.0/mlflow/assistant/config", "/ajax-api/3.0/jobs/x"):
        assert admin.get(path).status_code == 404, path
    started = admin.post("/ajax-api/3.0/mlflow/assistant/message", json={"message": "hello"})
    assert started.status_code in (404, 405)
    invoked = admin.post(
        "/ajax-api/3.0/mlflow/scorer/invoke", json={"experiment_id": "0", "serialized_scorer": "{}", "trace_ids": ["t"]}
    )
    assert invoked.status_code >= 400


def test_health_and_readiness_need_no_token_and_everything_else_does(house: House) -> None:
    nobody = house.http(None)
    assert nobody.get("/healthz").json() == {"status": "ok"}
    assert nobody.get("/readyz").json() == {"database": "ok", "migrations": "ok", "guard": "ok"}
    for path in (
        "/", "/api/2.0/mlflow/registered-models/search", "/ajax-api/2.0/mlflow/registered-models/search", "/graphql",
        "//api/2.0/mlflow/registered-models/search", "/api/2.0/mlflow-artifacts/artifacts/x", "/metrics",
        "/get-artifact?path=x&run_uuid=y", "/model-versions/get-artifact?name=m&version=1&path=x", "/api/lockgate/v1/requests",
        "/api/lockgate/v1/openapi.json", "/lockgate/requests/1", "/static-files/../api/2.0/mlflow/registered-models/search",
    ):  # fmt: skip
        answer = nobody.get(path)
        assert answer.status_code == 401, path
        assert answer.json()["error_code"] == "UNAUTHENTICATED"


def test_a_request_has_a_page_that_escapes_what_people_typed(house: House) -> None:
    model = house.new_model()
    body = {"model": model, "version": "1", "target": "alias:champion", "comment": "<script>alert(1)</script>"}
    asked = house.call("ada", "POST", "/requests", body)
    page = house.http("vic").get(f"/lockgate/requests/{asked['id']}")
    assert page.status_code == 200
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert house.http("vic").get("/lockgate/requests/999999").status_code == 404


def test_a_native_client_is_told_in_the_same_words(house: House) -> None:
    with acting(house.uri, None) as client, pytest.raises(MlflowException, match="Sign in first"):
        client.search_registered_models()
    with acting(house.uri, "lockgate_wrong") as client, pytest.raises(MlflowException, match="not valid"):
        client.search_registered_models()
