"""The compose file is one, and what it and the image call is there."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from compose_spec.compose_spec import PyCompose

from lockgate.cli.serve import server
from lockgate.server.main import FINISH_WITHIN
from tests.deploy.compose import COMPOSE, FILLED_IN, FOLDER, INSTANCES, filled_in

DEPLOY = FOLDER.parent
TEXT = (FOLDER / "compose.yaml").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
#: As the article has it.
STOCK = """
mlflow server
--backend-store-uri postgresql://mlflow:${MLFLOW_DB_PASSWORD}@postgres/mlflow
--default-artifact-root s3://${MLFLOW_ARTIFACT_BUCKET}/artifacts
--host 0.0.0.0
--port 5000
"""
#: Settings of the server, and what libraries of its read.
KNOWN = {parameter.envvar for parameter in server.params} | {
    "LOCKGATE_ADMIN_TOKEN",
    "LOCKGATE_SECRET_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "MLFLOW_S3_ENDPOINT_URL",
}


def test_it_is_as_the_compose_specification_says() -> None:
    services = PyCompose.from_json(json.dumps(COMPOSE)).service_names()
    assert set(services) == {*INSTANCES, "init-db", "balancer", "postgres", "store", "bucket"}
    with pytest.raises(ValueError, match="helthcheck"):
        PyCompose.from_json(json.dumps(COMPOSE).replace('"healthcheck"', '"helthcheck"'))


@pytest.mark.parametrize("instance", INSTANCES)
def test_the_command_is_the_stock_one_with_one_word_changed(instance: str) -> None:
    ours = re.sub(r":\?[^}]*", "", COMPOSE["services"][instance]["command"]).split()
    stock = STOCK.split()
    assert [word for word, before in zip(ours, stock, strict=True) if word != before] == ["lockgate"]


@pytest.mark.parametrize("instance", INSTANCES)
def test_the_options_and_variables_are_the_servers(instance: str) -> None:
    service = COMPOSE["services"][instance]
    words = shlex.split(filled_in(service["command"]))
    assert server.make_context("server", words[2:], resilient_parsing=True).params["host"] == "0.0.0.0"
    assert service["environment"].keys() <= KNOWN


def test_nothing_starts_without_its_secrets() -> None:
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    assert used == FILLED_IN.keys()
    for name in used - {"LOCKGATE_CHECKPOINT_TO"}:
        assert f"${{{name}:?" in TEXT, f"{name} may be forgotten"
    example = (FOLDER / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)) == {(name, "") for name in used}


def test_the_connections_of_all_workers_fit_the_database() -> None:
    workers = len(INSTANCES) * int(COMPOSE["x-lockgate"]["environment"]["MLFLOW_WORKERS"])
    [most] = re.findall(r"max_connections=(\d+)", COMPOSE["services"]["postgres"]["command"])
    assert workers * 40 + 20 <= int(most)


def test_calls_under_way_are_waited_for() -> None:
    unit = (DEPLOY / "systemd/lockgate.service").read_text()
    for told in (COMPOSE["x-lockgate"]["stop_grace_period"].removesuffix("s"), _setting(unit, "TimeoutStopSec")):
        assert int(told) >= FINISH_WITHIN + 5


def _setting(unit: str, name: str) -> str:
    [found] = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return str(found)


def test_only_the_load_balancer_is_believed_and_published() -> None:
    balancer = COMPOSE["services"]["balancer"]["networks"]["inside"]["ipv4_address"]
    assert COMPOSE["x-lockgate"]["environment"]["LOCKGATE_BEHIND_PROXY"] == balancer
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["balancer"]


def test_the_image_copies_what_is_there_and_runs_as_nobody_special() -> None:
    let_in = [line[1:] for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (DEPLOY.parent / source).exists(), source
            assert source in let_in, f"{source} is kept out by .dockerignore"
    assert "\nUSER 10001:10001\n" in DOCKERFILE


def entrypoint(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(DEPLOY / "entrypoint.sh"), *command],
        env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip


def test_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a secret; $HOME `id` 'x'\n")
    told = entrypoint("env", LOCKGATE_ADMIN_TOKEN_FILE=str(tmp_path / "token"), PGPASSWORD="as it was")
    assert "LOCKGATE_ADMIN_TOKEN=a secret; $HOME `id` 'x'\n" in told.stdout
    assert "PGPASSWORD=as it was" in told.stdout
    assert "_FILE" not in told.stdout


@pytest.mark.parametrize("content", ["", None])
def test_a_secret_that_is_not_there_stops_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    told = entrypoint("env", PGPASSWORD_FILE=str(file))
    assert told.returncode == 1
    assert f"PGPASSWORD_FILE names {file}" in told.stderr
    assert told.stdout == ""


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/here/health" else 404)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


def test_the_health_check_of_the_image() -> None:
    def checked(port: int, prefix: str) -> int:
        told = {"MLFLOW_PORT": str(port), "MLFLOW_STATIC_PREFIX": prefix}
        return subprocess.run([sys.executable, DEPLOY / "healthy.py"], env=told, capture_output=True).returncode

    with HTTPServer(("127.0.0.1", 0), Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            port = listening.server_address[1]
            assert checked(port, "/here") == 0
            assert checked(port, "") == 1
        finally:
            listening.shutdown()
            thread.join()
    assert checked(port, "/here") == 1
