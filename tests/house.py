"""A whole Lockgate for tests: the real server on a real database, and the same people in every test.

junior and ada train and register models; sue is a senior who reviews; rex reviews but is no senior; vic only looks, and
answers for the accounts; ci is the pipeline's account; bot carries promotions out; oz operates; max maintains; admin
administers.
"""

import functools
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import mlflow
import psycopg
from mlflow import MlflowClient

ADMIN_TOKEN = "lockgate_test_admin_0123456789abcdef"
SECRET_KEY = "a secret key that only these tests have"
SCRIPTS = Path(sys.executable).parent

CAST: dict[str, dict[str, Any]] = {
    "junior": {"roles": ["contributor"]},
    "ada": {"roles": ["contributor"]},
    "sue": {"roles": ["reviewer", "contributor"], "groups": ["senior"]},
    "sam": {"roles": ["reviewer"], "groups": ["senior"]},
    "rex": {"roles": ["reviewer"]},
    "vic": {"roles": ["viewer"]},
    "ci": {"kind": "service", "roles": ["contributor", "releaser"], "owner": "vic"},
    "bot": {"kind": "service", "roles": ["releaser", "contributor"], "owner": "vic"},
    "relay": {"kind": "service", "roles": ["releaser"], "owner": "vic"},
    "oz": {"roles": ["operator", "contributor"]},
    "max": {"roles": ["maintainer"]},
}

NO_RULES = "version: 1\nrules: []\n"
ONE_APPROVAL = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [stage:Production, alias:champion]
    approvals: {required: 1, from: [group:senior]}
"""


_FIRST_PORT, _PORTS_EACH, _PROCESSES = 20_000, 300, 40


@functools.cache
def _ports() -> Iterator[int]:
    """Return the ports of this process, over and over: they are below those that the system gives to clients.

    Each process that runs tests has ports of its own, so that none takes what another is about to use. Their first one
    it keeps bound: that says whose they are.
    """
    for first in range(_FIRST_PORT, _FIRST_PORT + _PROCESSES * _PORTS_EACH, _PORTS_EACH):
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", first))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return cycle(range(first + 1, first + _PORTS_EACH))
    raise AssertionError("too many processes run tests")


_claims: list[socket.socket] = []


def free_port() -> int:
    for port in _ports():
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


@dataclass
class Server:
    """A server process, ours or stock MLflow's."""

    command: Sequence[str]
    folder: Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    ready_path: str = "/health"
    scheme: str = "http"
    #: How many seconds it may take until it is ready.
    patience: float = 90
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / f"server-{self.port}.log").read_text(errors="replace")

    def begin(self) -> None:
        """Start the process, without waiting until it is ready."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LOCKGATE_", "PYTEST_"))}
        with (self.folder / f"server-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**inherited, "MLFLOW_DISABLE_TELEMETRY": "true", **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.begin()
        assert self.process is not None
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{self.log[-4000:]}")
            try:
                if httpx.get(self.uri + self.ready_path, timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the server did not get ready:\n{self.log[-4000:]}")

    def kill(self, sig: int = signal.SIGKILL) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, sig)
        self.process.wait()

    def kill_workers(self) -> None:
        """Kill the processes that serve, once there are any; the one that started them replaces them."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        deadline = time.monotonic() + 30
        while not (workers := children.read_text().split()):
            assert time.monotonic() < deadline, "nobody serves"
            time.sleep(0.01)
        for worker in workers:
            os.kill(int(worker), signal.SIGKILL)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


def stock_server(folder: Path, backend: str, workers: int = 1) -> Server:
    """Plain `mlflow server` on a database."""
    port = free_port()
    command = [
        str(SCRIPTS / "mlflow"), "server", "--backend-store-uri", backend, "--port", str(port), "--workers", str(workers),
    ]  # fmt: skip
    return Server(command, folder, port, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


class House:
    """A Lockgate server with the cast in it."""

    def __init__(self, folder: Path, backend: str, *options: str, environment: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.backend = backend
        port = free_port()
        command = [
            str(SCRIPTS / "lockgate"), "server", "--backend-store-uri", backend,
            "--port", str(port), "--workers", "1", *options,
        ]  # fmt: skip
        self.server = Server(
            command,
            folder,
            port,
            {"LOCKGATE_ADMIN_TOKEN": ADMIN_TOKEN, "LOCKGATE_SECRET_KEY": SECRET_KEY, **(environment or {})},
            "/readyz",
        )
        if "--ssl-certfile" in options:
            self.server.scheme = "https"
        self.tokens = {"admin": ADMIN_TOKEN}
        self._clients: dict[str | None, httpx.Client] = {}

    @property
    def uri(self) -> str:
        return self.server.uri

    def open(self) -> "House":
        """Start the server and let the cast in."""
        self.server.start()
        admin = self.http("admin")
        for name, standing in CAST.items():
            admin.post("/api/lockgate/v1/principals", json={"name": name, **standing}).raise_for_status()
            made = admin.post("/api/lockgate/v1/tokens", json={"principal": name})
            self.tokens[name] = made.raise_for_status().json()["token"]
        return self

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.server.stop()

    def http(self, name: str | None) -> httpx.Client:
        """Plain HTTP as somebody; None is nobody."""
        token = None if name is None else self.tokens[name]
        if token not in self._clients:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            self._clients[token] = httpx.Client(base_url=self.uri, headers=headers, timeout=60)
        return self._clients[token]

    def call(self, name: str, method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        """Call our API as somebody and return the JSON; `status` is what must come, any success else."""
        response = self.http(name).request(method, f"/api/lockgate/v1{path}", json=body)
        expected = response.is_success if status is None else response.status_code == status
        assert expected, f"{name} {method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def sql(self, statement: str) -> None:
        """Change the database behind the server's back, such as what time it is for a request."""
        if self.backend.startswith("sqlite:///"):
            path = self.backend.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=30)) as file, file:
                file.execute(statement)
        else:
            with psycopg.connect(self.backend, autocommit=True) as connection:
                connection.execute(statement.encode())

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Read from the database behind the server's back."""
        if self.backend.startswith("sqlite:///"):
            with closing(sqlite3.connect(self.backend.removeprefix("sqlite:///"), timeout=30)) as file:
                return file.execute(statement).fetchall()
        with psycopg.connect(self.backend) as connection:
            return connection.execute(statement.encode()).fetchall()

    def tamper(self, *statements: str) -> None:
        """Change what can't be changed, as a superuser could: the guard's triggers on our own tables stand back."""
        if self.backend.startswith("sqlite:///"):
            path = self.backend.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=30)) as file, file:
                file.execute("BEGIN IMMEDIATE")
                triggers = file.execute(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'lockgate_%'"
                ).fetchall()
                for statement in (*(f"DROP TRIGGER {name}" for name, _ in triggers), *statements):
                    file.execute(statement)
                for _, made in triggers:
                    file.execute(made)
        else:
            with psycopg.connect(self.backend) as connection:
                connection.execute("SET LOCAL session_replication_role = replica")
                triggers = connection.execute(
                    "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgenabled = 'A'"
                ).fetchall()
                for table, name in triggers:
                    connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}".encode())
                for statement in statements:
                    connection.execute(statement.encode())
                for table, name in triggers:
                    connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}".encode())

    @contextmanager
    def acting_as(self, name: str) -> Iterator[MlflowClient]:
        """Be somebody with the real mlflow client."""
        with acting(self.uri, self.tokens[name]) as client:
            yield client

    def apply_policy(self, source: str) -> None:
        self.call("admin", "PUT", "/policies", {"source": source})

    def new_model(self, name: str | None = None, versions: int = 1, by: str = "ada", auc: float = 0.9) -> str:
        """Register a model with some versions, each from a run of its own."""
        name = name or f"model-{secrets.token_hex(4)}"
        with self.acting_as(by) as client:
            client.create_registered_model(name)
            for _ in range(versions):
                self.new_version(client, name, auc)
        return name

    @staticmethod
    def new_version(client: MlflowClient, name: str, auc: float = 0.9) -> str:
        run = client.create_run("0")
        client.log_metric(run.info.run_id, "val_auc", auc)
        made = client.create_model_version(
            name, f"runs:/{run.info.run_id}/model", run.info.run_id, await_creation_for=0
        )
        return str(made.version)

    def ask(self, name: str, version: str, target: str, by: str = "ada") -> dict[str, Any]:
        asked: dict[str, Any] = self.call(
            by, "POST", "/requests", {"model": name, "version": version, "target": target}
        )
        return asked

    def promote(self, name: str, version: str, target: str) -> dict[str, Any]:
        """Ask, approve and carry out."""
        asked = self.ask(name, version, target)
        self.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
        done: dict[str, Any] = self.call("bot", "POST", f"/requests/{asked['id']}/promote", {})
        return done

    def cli(
        self, name: str, *arguments: str, input: str | None = None, wait: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run the `lockgate` command as somebody."""
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.uri, "MLFLOW_TRACKING_TOKEN": self.tokens[name]}
        return subprocess.run(
            [str(SCRIPTS / "lockgate"), *arguments],
            env=environment, input=input, capture_output=True, text=True, timeout=wait, check=False,
        )  # fmt: skip


def form_of(page: httpx.Response) -> dict[str, str]:
    """Return what the forms of a page send along unseen."""
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    assert hidden, page.text
    return dict(hidden)


@contextmanager
def acting(uri: str, token: str | None) -> Iterator[MlflowClient]:
    """Point the real mlflow client at a server, as whoever the token is."""
    before = dict(os.environ)
    os.environ["MLFLOW_TRACKING_URI"] = uri
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ.pop("MLFLOW_TRACKING_TOKEN", None)
    if token is not None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = token
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield MlflowClient(uri, uri)
    finally:
        os.environ.clear()
        os.environ.update(before)
