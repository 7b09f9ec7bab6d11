"""Served by https, and behind a proxy: who is believed, and what browsers are told."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.certificates import certificate
from tests.house import House, form_of

NewDatabase = Callable[[str], str]


def test_the_mlflow_client_and_the_command_over_https(
    new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certfile, keyfile = certificate(tmp_path / "tls")
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(variable, certfile)
    house = House(tmp_path, new_database("sqlite"), "--ssl-certfile", certfile, "--ssl-keyfile", keyfile).open()
    try:
        name = house.new_model()
        asked = house.ask(name, "1", "alias:champion")
        assert asked["url"].startswith(f"https://127.0.0.1:{house.server.port}/")
        assert house.cli("sue", "approve", str(asked["id"])).returncode == 0
        answer = house.http("vic").get("/api/2.0/mlflow/registered-models/get", params={"name": name})
        assert "max-age" in answer.headers["strict-transport-security"]
        with httpx.Client(base_url=house.uri, headers={"sec-fetch-site": "same-origin"}) as browser:
            hidden = form_of(browser.get("/lockgate/sign-in"))
            browser.post("/lockgate/sign-in", data={**hidden, "token": house.tokens["vic"]})
            assert browser.get("/lockgate/requests").status_code == 200
            kept = {cookie.name: cookie for cookie in browser.cookies.jar}
        assert kept.keys() == {"__Host-lockgate_session", "__Host-lockgate_form"}
        for cookie in kept.values():
            assert (cookie.secure, cookie.path, cookie.domain_specified) == (True, "/", False)
        session = kept["__Host-lockgate_session"].value
        # Under the name that a parent domain, or somebody on the way by plain http, could have planted it's no session.
        for name, status in (
            ("lockgate_session", 401),
            ("__Secure-lockgate_session", 401),
            ("__Host-lockgate_session", 200),
        ):
            sent = httpx.get(f"{house.uri}/api/lockgate/v1/requests", headers={"cookie": f"{name}={session}"})
            assert sent.status_code == status, name
        with socket.create_connection(("127.0.0.1", house.server.port)) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in plain.recv(100)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{house.uri}/health", verify=old)
    finally:
        house.close()


def test_only_a_known_proxy_is_believed(house: House, new_database: NewDatabase, tmp_path: Path) -> None:
    forwarded = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    behind = House(tmp_path, new_database("sqlite"), "--behind-proxy", "127.0.0.1").open()
    try:
        for each, scheme, address in ((house, "http", "127.0.0.1"), (behind, "https", "203.0.113.9")):
            name = each.new_model()
            body = {"model": name, "version": "1", "target": "alias:champion"}
            asked = each.http("ada").post("/api/lockgate/v1/requests", json=body, headers=forwarded)
            assert asked.json()["url"].startswith(f"{scheme}://")
            assert ("strict-transport-security" in asked.headers) is (scheme == "https")
            noted = each.call("admin", "GET", f"/audit?model={name}")["entries"][0]
            assert (noted["actor"], noted["address"]) == ("ada", address)
    finally:
        behind.close()


@pytest.mark.parametrize(
    "path", ["/api/lockgate/v1/requests", "/lockgate/requests", "/api/2.0/mlflow/runs/search", "/"]
)
def test_our_routes_are_for_known_hosts_as_mlflows_are(house: House, path: str) -> None:
    answers = [
        house.http("vic").request("POST" if "runs" in path else "GET", path, headers={"host": host}, json={"experiment_ids": ["0"]})
        for host in ("rebound.example", f"127.0.0.1:{house.server.port}")
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [403, 200]
    assert "Host header" in answers[0].text


@pytest.mark.parametrize("route", ["/api/lockgate/v1/requests", "/api/2.0/mlflow/registered-models/create"])
def test_our_routes_are_for_known_origins_as_mlflows_are(house: House, route: str) -> None:
    name = house.new_model()
    body = {"model": name, "version": "1", "target": "alias:champion"} if "lockgate" in route else {"name": f"{name}-2"}
    foreign = house.http("ada").post(route, json=body, headers={"origin": "https://elsewhere.example"})
    assert (foreign.status_code, foreign.text) == (403, "Cross-origin request blocked")
    assert house.call("vic", "GET", f"/requests?model={name}")["requests"] == []
    assert house.http("ada").post(route, json=body, headers={"origin": "http://localhost:3000"}).is_success


def test_nothing_that_somebody_uploaded_runs_as_a_page_of_ours(house: House) -> None:
    page = b"<script>fetch('/api/lockgate/v1/principals')</script>"
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
        client.log_text(run, page.decode(), "model/page.html")
        model = client.create_model_version(
            house.new_model(), f"mlflow-artifacts:/0/{run}/artifacts/model", run, await_creation_for=0
        )
    artifacts = [
        f"/get-artifact?run_uuid={run}&path=model/page.html",
        f"/model-versions/get-artifact?name={model.name}&version={model.version}&path=page.html",
        f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/page.html",
        f"/ajax-api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model/page.html",
    ]
    for path in artifacts:
        answer = house.http("vic").get(path)
        assert (path, answer.status_code, answer.content) == (path, 200, page)
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_answer_has_its_headers(house: House) -> None:
    paths = [
        "/",
        "/static-files/index.html",
        "/lockgate/requests",
        "/lockgate/sign-in",
        "/healthz",
        "/version",
        "/nothing",
    ]
    policies = {}
    for path in [*paths, "/api/2.0/mlflow/experiments/get?experiment_id=0", "/api/lockgate/v1/requests"]:
        for who in ("vic", None):
            answer = house.http(who).get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "strict-transport-security" not in answer.headers
            policies[path, who, answer.status_code] = answer.headers.get("content-security-policy", "")
    # MLflow's UI needs its scripts; our pages say themselves what they need, and run none.
    assert policies["/", "vic", 200] == ""
    assert "default-src 'none'" in policies["/lockgate/requests", "vic", 200]
    assert "sandbox" not in policies["/lockgate/requests", "vic", 200]
    assert "sandbox" in policies["/api/lockgate/v1/requests", "vic", 200]
