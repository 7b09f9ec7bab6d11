"""The compose file, run without containers: its commands, variables and load balancer, on this machine."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.certificates import certificate
from tests.deploy import environment, program
from tests.house import ADMIN_TOKEN, SCRIPTS, House, Server, free_port

FOLDER = Path(__file__).parents[2] / "deploy/compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
INSTANCES = ("lockgate-1", "lockgate-2")
#: What `.env` has to hold.
FILLED_IN = {
    "LOCKGATE_HOSTNAME": "127.0.0.1",
    "MLFLOW_DB_PASSWORD": "secret-of-the-database",
    "MLFLOW_ARTIFACT_BUCKET": "models",
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "LOCKGATE_ADMIN_TOKEN": ADMIN_TOKEN,
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")


def filled_in(text: str, variables: Mapping[str, str] = FILLED_IN) -> str:
    """Put variables in, as compose does."""
    return _VARIABLE.sub(lambda found: variables[found[1]], text)


@dataclass
class Deployment:
    """Two instances, and the load balancer in front of them, with the cast let in."""

    front: House
    instances: dict[str, Server]
    store: str
    killed: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.front.close()
        for instance in self.instances.values():
            instance.stop()

    def taken_by(self, instance: str) -> int:
        """How many calls an instance was given so far."""
        return self.front.server.log.count(f" lockgate/{instance} ")


def deployed(folder: Path, database: str, s3: str) -> Deployment:
    """Start what the compose file says, but for PostgreSQL and the store, which are there.

    Args:
        folder: For logs and certificates.
        database: A PostgreSQL's URI.
        s3: A store's address, http://HOST:PORT.
    """
    ports = {name: free_port() for name in (*INSTANCES, "https", "store")}
    variables = _variables(ports, s3)
    make_bucket(variables)
    instances = {name: _instance(folder, name, ports, database, variables) for name in INSTANCES}
    front = House(folder, database)
    front.server = _balancer(folder, ports, s3)
    deployment = Deployment(front, instances, f"https://127.0.0.1:{ports['store']}")
    try:
        # One after the other, as their `depends_on` says.
        for instance in instances.values():
            instance.start()
        front.open()
    except BaseException:
        deployment.close()
        raise
    return deployment


def make_bucket(variables: Mapping[str, str]) -> None:
    """Run the service `bucket`."""
    python, script, bucket = COMPOSE["services"]["bucket"]["command"]
    assert (python, script) == ("python", "/make_bucket.py")
    subprocess.run(
        [sys.executable, FOLDER / script.removeprefix("/"), filled_in(bucket)],
        env={**os.environ, **variables}, check=True, timeout=60,
    )  # fmt: skip


def _variables(ports: Mapping[str, int], s3: str) -> dict[str, str]:
    told = {name: filled_in(str(value)) for name, value in COMPOSE["x-lockgate"]["environment"].items()}
    return told | {
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "LOCKGATE_PUBLIC_URL": f"{told['LOCKGATE_PUBLIC_URL']}:{ports['https']}",
        "MLFLOW_SERVER_ALLOWED_HOSTS": told["MLFLOW_SERVER_ALLOWED_HOSTS"].replace(":443", f":{ports['https']}"),
        "LOCKGATE_BEHIND_PROXY": "127.0.0.1",
        "MLFLOW_WORKERS": "1",
    }


def _instance(folder: Path, name: str, ports: Mapping[str, int], database: str, variables: Mapping[str, str]) -> Server:
    words = shlex.split(filled_in(COMPOSE["services"][name]["command"]))
    here = {"lockgate": str(SCRIPTS / "lockgate"), "0.0.0.0": "127.0.0.1", "5000": str(ports[name])}
    here["postgresql://mlflow:secret-of-the-database@postgres/mlflow"] = database
    assert here.keys() <= set(words)
    # MLflow's own probe, as the image's HEALTHCHECK asks it.
    return Server([here.get(word, word) for word in words], folder, ports[name], dict(variables), "/health")


def _balancer(folder: Path, ports: Mapping[str, int], s3: str) -> Server:
    told = (FOLDER / "haproxy.cfg").read_text()
    certfile, keyfile = (Path(file) for file in certificate(folder / "tls"))
    both = folder / "tls/both.pem"
    both.write_text(certfile.read_text() + keyfile.read_text())
    for there, here in {
        ":8443": f"127.0.0.1:{ports['https']}",
        ":8333 ssl": f"127.0.0.1:{ports['store']} ssl",
        "/run/secrets/certificate.pem": str(both),
        **{f" {name}:5000": f" 127.0.0.1:{ports[name]}" for name in INSTANCES},
        "store:8333": s3.removeprefix("http://"),
    }.items():
        assert there in told, there
        told = told.replace(there, here)
    file = folder / "haproxy.cfg"
    file.write_text(told)
    given = {"LOCKGATE_HOSTNAME": FILLED_IN["LOCKGATE_HOSTNAME"], "LD_LIBRARY_PATH": environment()["LD_LIBRARY_PATH"]}
    return Server(
        [program("haproxy"), "-db", "-f", str(file)], folder, ports["https"], given, "/readyz", scheme="https"
    )


def is_up(server: Server) -> bool:
    """Say whether an instance answers."""
    try:
        return httpx.get(server.uri + server.ready_path, timeout=2).is_success
    except httpx.TransportError:
        return False
