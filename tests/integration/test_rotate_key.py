"""`lockgate rotate-key`: all that is encrypted at rest gets another key, at once or not at all."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.webhook import WebhookEvent
from sqlalchemy import Engine, insert, select

from lockgate.access.at_rest import AtRest
from lockgate.access.principals import Kind
from lockgate.database import people, signing_keys, tables, webhooks
from lockgate.database.engine import MIGRATES
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.receivers import Secrets
from lockgate.errors import BadInput, Conflict
from lockgate.events.dialects.standard import new_secret
from lockgate.registry import mlflow_tables
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.secret_keys import rotate, unopened
from lockgate.workflow.signing import signer
from tests.conftest import BACKENDS
from tests.house import SECRET_KEY, House
from tests.logs import new_log
from tests.receivers import Receiver

OLD, NEW = "the old key that somebody has seen", "the new key that nobody has seen yet"
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=BACKENDS)
def engine(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """A database with a signing key and three webhooks, all encrypted with the old key."""
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", OLD)
    made = new_log(new_database(request.param))
    with made.execution_options(**{MIGRATES: True}).begin() as connection:
        mlflow_tables.webhooks.create(connection)
        mlflow_tables.webhook_events.create(connection)
        connection.execute(insert(tables.outbox).values(id=1, position=0))
    signer(made)
    with transaction(made) as session:
        ada = people.add(session, "ada", Kind.USER, AT)
        for name in ("one", "two", "three"):
            webhooks.add(session, hook(name, made), ada)
    return made


def hook(name: str, engine: Engine) -> Webhook:
    return Webhook(
        id=name,
        workspace="default",
        dialect="standard",
        description="",
        url="https://ci.example.com",
        events=("*",),
        models="*",
        status=Status.ACTIVE,
        verify_certificate=True,
        created_at=AT,
        updated_at=AT,
        secret=receivers.sealed(Secrets((new_secret(),)), receivers.webhooks_at_rest(engine)),
        told_since=AT,
    )


def all_stored(engine: Engine) -> list[str]:
    with reading(engine) as session:
        hooks = session.execute(select(tables.webhooks.c.secret).order_by(tables.webhooks.c.id)).scalars()
        return [signing_keys.load(session) or "", *hooks]


def counted(engine: Engine) -> dict[str, tuple[int, int]]:
    return {one.kind.many: (one.anew, one.before) for one in rotate(engine)}


def test_everything_gets_the_first_key_and_once_more_is_no_harm(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = signer(engine).key_id
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", f"{NEW},{OLD}")
    assert counted(engine) == {"signing keys": (1, 0), "webhooks": (3, 0), "webhooks of MLflow's": (0, 0)}
    assert counted(engine) == {"signing keys": (0, 1), "webhooks": (0, 3), "webhooks of MLflow's": (0, 0)}
    for key, opens in ((NEW, True), (f"{OLD},{NEW}", True), (OLD, False)):
        monkeypatch.setenv("LOCKGATE_SECRET_KEY", key)
        assert bool(unopened(engine)) is not opens
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", NEW)
    assert signer(engine).key_id == key_id
    with reading(engine) as session:
        told = session.execute(select(tables.audit.c.after).where(tables.audit.c.action == "secret_key.rotated"))
        assert len(told.all()) == 1


def test_what_no_key_opens_is_named_and_nothing_is_changed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = AtRest("a key that nobody has any more", "webhooks").encrypt(b"{}")
    with transaction(engine) as session:
        webhooks.change(session, "two", secret=lost)
    before = all_stored(engine)
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", f"{NEW},{OLD}")
    with pytest.raises(BadInput, match="webhook two, so nothing was changed"):
        rotate(engine)
    assert all_stored(engine) == before
    [told] = unopened(engine)
    assert "webhook two" in told


def test_who_has_no_key_is_told_what_can_not_be_opened(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine.dialect.name == "sqlite":
        Path(f"{engine.url.database}.secret-key").write_text(f"{NEW},{OLD}\n")
    monkeypatch.delenv("LOCKGATE_SECRET_KEY")
    if engine.dialect.name == "sqlite":
        assert unopened(engine) == []  # The file beside the database holds several keys as well.
        return
    assert len(unopened(engine)) == 2
    with pytest.raises(Conflict, match="LOCKGATE_SECRET_KEY is not set"):
        rotate(engine)


DIES = """
import os, signal, sys
from sqlalchemy import event
from lockgate.database.engine import engine_for
from lockgate.workflow.secret_keys import rotate

engine, left = engine_for(sys.argv[1]), [int(sys.argv[2])]

@event.listens_for(engine, "after_cursor_execute")
def die(_connection, _cursor, statement, *_):
    if statement.startswith("UPDATE"):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

rotate(engine)
"""


def test_who_is_killed_on_the_way_has_changed_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = all_stored(engine)
    environment = {**os.environ, "LOCKGATE_SECRET_KEY": f"{NEW},{OLD}"}
    uri = engine.url.render_as_string(hide_password=False)
    dying = subprocess.run([sys.executable, "-c", DIES, uri, "3"], env=environment, capture_output=True, text=True)
    assert dying.returncode == -signal.SIGKILL, dying.stderr
    assert all_stored(engine) == before
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", f"{NEW},{OLD}")
    assert counted(engine)["webhooks"] == (3, 0)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    return new_database(request.param)


def test_servers_go_on_with_the_new_key_alone(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = {"LOCKGATE_WEBHOOK_ALLOW_HOSTS": "127.0.0.1", "LOCKGATE_WEBHOOK_ALLOW_HTTP": "true"}
    with Receiver() as receiver:
        with closing(House(tmp_path / "old", backend, environment=allowed).open()) as house:
            theirs = house.call("admin", "POST", "/webhooks", {"url": receiver.url}, 201)["id"]
            with house.acting_as("admin") as client:
                made = client.create_webhook(
                    "hook", receiver.url, [WebhookEvent("model_version", "created")], secret="s"
                )
            public_key = house.call("admin", "GET", "/audit/key")["public_key"]
            rotated = rotate_key(house, monkeypatch, f"{NEW},{SECRET_KEY}")
            assert rotated.returncode == 0, rotated.stderr
            for many in ("signing keys: 1", "webhooks: 1", "webhooks of MLflow's: 1"):
                assert f"{many} encrypted anew" in rotated.stdout
            assert rotate_key(house, monkeypatch, f"{NEW},").returncode == 1
            told = house.call("admin", "GET", "/doctor")
            assert (told["ok"], len(told["secrets"])) == (False, 3)
        with closing(House(tmp_path / "new", backend, environment={**allowed, "LOCKGATE_SECRET_KEY": NEW})) as house:
            house.server.start()
            assert "opens" not in house.server.log
            assert house.call("admin", "POST", f"/webhooks/{theirs}/test")["status"] == 200
            with house.acting_as("admin") as client:
                assert client.test_webhook(made.webhook_id).success
            assert house.call("admin", "GET", "/audit/key")["public_key"] == public_key
            assert house.call("admin", "GET", "/doctor")["secrets"] == []
        assert receiver.requests[-1].headers["x-mlflow-signature"]


def rotate_key(house: House, monkeypatch: pytest.MonkeyPatch, keys: str) -> Any:
    with monkeypatch.context() as patched:
        patched.setenv("LOCKGATE_SECRET_KEY", keys)
        return house.cli("admin", "rotate-key", "--backend-store-uri", house.backend)
