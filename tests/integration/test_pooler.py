"""PgBouncer between the server and PostgreSQL, in a mode that the documentation says will do."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.deploy import environment, program
from tests.house import House, Server, free_port

SETTINGS = """\
[databases]
* = host={host} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 40
max_client_conn = 200
"""


class Pooler(Server):
    """A PgBouncer; it speaks no HTTP."""

    def __init__(self, folder: Path, host: str, mode: str) -> None:
        port = free_port()
        settings = folder / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(host=host, port=port, mode=mode))
        # As whoever runs PostgreSQL: its socket lies in a folder of theirs, and PgBouncer doesn't run as root.
        as_whom = ["-u", Path(host).owner()] if os.geteuid() == 0 else []
        command = [program("pgbouncer"), *as_whom, str(settings)]
        super().__init__(command, folder, port, {"LD_LIBRARY_PATH": environment()["LD_LIBRARY_PATH"]})


@pytest.fixture
def pooled(new_database: Callable[[str], str], tmp_path: Path) -> Iterator[House]:
    direct = urlsplit(new_database("postgresql"))
    [host] = parse_qs(direct.query)["host"]
    pooler = Pooler(tmp_path, host, os.environ.get("LOCKGATE_POOL_MODE", "session"))
    house = House(tmp_path, f"postgresql://postgres@127.0.0.1:{pooler.port}{direct.path}")
    try:
        pooler.begin()
        yield house.open()
    finally:
        house.close()
        pooler.stop()


def test_promotions_through_a_pooler(pooled: House) -> None:
    # More often than psycopg asks before it prepares a statement.
    for _ in range(8):
        name = pooled.new_model(versions=2)
        for version in ("1", "2"):
            pooled.promote(name, version, "alias:champion")
        pooled.call("oz", "POST", f"/models/{name}/rollback", {"target": "alias:champion", "reason": "a test"})
        with pooled.acting_as("vic") as client:
            assert str(client.get_model_version_by_alias(name, "champion").version) == "1"
