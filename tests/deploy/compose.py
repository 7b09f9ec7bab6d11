"""The compose file, run without containers: its commands, variables and load balancer, on this machine."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
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
    "POSTGRES_PASSWORD": "secret-of-the-superuser",
    "MLFLOW_DB_PASSWORD": "secret-of-the-database",
    "MLFLOW_ARTIFACT_BUCKET": "models",
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "LOCKGATE_ADMIN_TOKEN": ADMIN_TOKEN,
    "LOCKGATE_SECRET_KEY": "secret-of-the-signing-key",
    "LOCKGATE_CHECKPOINT_TO": "",
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::[?-][^}]*)?\}")


def filled_in(text: str, variables: Mapping[str, str] = FILLED_IN) -> str:
    """Put variables in, as compose does."""
    return _VARIABLE.sub(lambda found: variables[found[1]], text)


@dataclass
class Deployment:
    """Two instances, and the load balancers in front of them, with the cast let in."""

    front: House
    nginx: Server
    instances: dict[str, Server]
    store: str

    def close(self) -> None:
        self.front.close()
        self.nginx.stop()
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
    ports = {name: free_port() for name in (*INSTANCES, "https", "store", "nginx")}
    variables = _variables(ports, s3)
    make_bucket(variables)
    init_db(database)
    as_mlflow = database.replace("//postgres:", "//mlflow:", 1)
    instances = {name: _instance(folder, name, ports, as_mlflow, variables) for name in INSTANCES}
    front = House(folder, database)
    front.server = _balancer(folder, ports, s3)
    nginx = nginx_before(folder, ports)
    deployment = Deployment(front, nginx, instances, f"https://127.0.0.1:{ports['store']}")
    try:
        # One after the other, as their `depends_on` says.
        for instance in instances.values():
            instance.start()
        nginx.start()
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


def init_db(database: str) -> None:
    """Run what PostgreSQL's image runs at its first start, and the service `init-db`."""
    # Roles are the whole cluster's.
    with psycopg.connect(database, autocommit=True) as connection, suppress(psycopg.errors.DuplicateObject):
        connection.execute(filled_in(COMPOSE["configs"]["roles.sql"]["content"]).encode())
    words = shlex.split(filled_in(COMPOSE["services"]["init-db"]["command"]))
    here = {
        "lockgate": str(SCRIPTS / "lockgate"),
        "postgresql://postgres:secret-of-the-superuser@postgres/mlflow": database,
    }
    assert here.keys() <= set(words)
    subprocess.run([here.get(word, word) for word in words], check=True, timeout=60)


def _variables(ports: Mapping[str, int], s3: str) -> dict[str, str]:
    told = {name: filled_in(str(value)) for name, value in COMPOSE["x-lockgate"]["environment"].items()}
    return told | {
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "LOCKGATE_PUBLIC_URL": f"{told['LOCKGATE_PUBLIC_URL']}:{ports['https']}",
        "MLFLOW_SERVER_ALLOWED_HOSTS": told["MLFLOW_SERVER_ALLOWED_HOSTS"].replace(
            ":443", f":{ports['https']},127.0.0.1:{ports['nginx']}"
        ),
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


def nginx_before(folder: Path, ports: Mapping[str, int]) -> Server:
    """Return the example for nginx, in front of instances at other ports.

    Args:
        folder: For logs; with a certificate in `tls`.
        ports: Of both instances, and nginx's own.
    """
    told = (FOLDER.parent / "nginx/lockgate.conf").read_text()
    for there, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{ports['nginx']} ssl",
        "models.example.com": "127.0.0.1",
        "/etc/nginx/tls": str(folder / "tls"),
        "/var/log/nginx": str(folder),
        "127.0.0.1:5001": f"127.0.0.1:{ports['lockgate-1']}",
        "127.0.0.1:5002": f"127.0.0.1:{ports['lockgate-2']}",
    }.items():
        assert there in told, there
        told = told.replace(there, here)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(f"daemon off; pid {folder}/nginx.pid; events {{}} http {{ {temporary}\n{told} }}")
    given = {"LD_LIBRARY_PATH": environment()["LD_LIBRARY_PATH"]}
    command = [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(file)]
    return Server(command, folder, ports["nginx"], given, "/readyz", scheme="https")
