"""A database with a model that serves, without the guard and with it, and what is written there to move something."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from lockgate.database.engine import real_uri
from lockgate.database.guard.placing import put_in_place
from lockgate.database.guard.roles import Roles
from lockgate.database.migrate import prepare_database

MODEL = "fraud"
ROLES = Roles("keeper", "lockgate_app", "notebook")


@dataclass(frozen=True)
class Database:
    """A database in which version 1 of a model serves production and champion, and 2 and 3 would like to."""

    kind: str
    uri: str

    def run(self, *statements: str, role: str | None = None) -> None:
        """Do what somebody with the connection string could: all of it in one transaction."""
        with self.connected(role) as connection:
            for statement in statements:
                connection.execute(text(statement))
            connection.commit()

    def would_serve(self, *statements: str) -> dict[str, Any]:
        """Return what would be served after some statements, which are taken back."""
        with self.connected(None) as connection:
            for statement in statements:
                connection.execute(text(statement))
            found = serving(connection)
            connection.rollback()
            return found

    def serving(self) -> dict[str, Any]:
        """Return what is served."""
        return self.would_serve()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connected(None) as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    @contextmanager
    def connected(self, role: str | None) -> Iterator[Connection]:
        engine = create_engine(real_uri(as_role(self.uri, role)), poolclass=NullPool)
        with engine.connect() as connection:
            if self.kind == "sqlite":
                # As MLflow does, and before a transaction, in which it would do nothing.
                connection.connection.cursor().execute("PRAGMA foreign_keys = ON")
            yield connection


def serving(connection: Connection) -> dict[str, Any]:
    """Return what production and champion serve, in whatever words, and what version 1 is."""
    asked = {
        "production": "SELECT version FROM model_versions WHERE workspace = 'default' AND name = 'fraud' AND lower(current_stage) = 'production'",
        "champion": "SELECT version FROM registered_model_aliases WHERE name = 'fraud' AND alias = 'champion'",
        "content": "SELECT source, storage_location, run_id, current_stage FROM model_versions "
        "WHERE workspace = 'default' AND name = 'fraud' AND version = 1",
    }
    found = {what: connection.execute(text(question)).all() for what, question in asked.items()}
    return {
        "production": sorted(row[0] for row in found["production"]),
        "champion": sorted(row[0] for row in found["champion"]),
        "content": [tuple(row) for row in found["content"]],
    }


def as_role(uri: str, role: str | None) -> str:
    if role is None:
        return uri
    return make_url(uri).set(username=role, password="").render_as_string(hide_password=False)


def prepared(kind: str, uri: str) -> Database:
    prepare_database(real_uri(uri))
    furnish(uri)
    return Database(kind, uri)


def furnish(uri: str) -> None:
    """Register the models, whatever was there before."""
    store = SqlAlchemyStore(real_uri(uri))
    with store.engine.begin() as connection:
        for table in ("registered_model_aliases", "model_version_tags", "model_versions", "registered_models"):
            connection.execute(text(f"DELETE FROM {table}"))
    store.create_registered_model(MODEL)
    store.create_registered_model("other")
    for source in ("file:///one", "file:///two", "file:///three"):
        store.create_model_version(MODEL, source)
        store.create_model_version("other", source)
    store.transition_model_version_stage(MODEL, 1, "Production", False)
    store.set_registered_model_alias(MODEL, "champion", "1")
    store.set_registered_model_alias(MODEL, "canary", "2")
    store.engine.dispose()


def known(database: Database) -> Database:
    """Guard a database that knows the model, its versions and somebody who decides."""
    database.run(
        "INSERT INTO lockgate_principals (name, kind, active, created_at) VALUES ('sue', 'user', true, 0)",
        "INSERT INTO lockgate_models (id, workspace, name, created_at, adopted) "
        "SELECT name, workspace, name, creation_time, false FROM registered_models",
        "INSERT INTO lockgate_versions (id, model_id, number, created_at) "
        "SELECT name || version, name, version, creation_time FROM model_versions",
    )
    put_in_place(real_uri(database.uri))
    return database


Databases = Callable[[str], Database]

VERSION = (
    "INSERT INTO model_versions (workspace, name, version, creation_time, current_stage, source, status) "
    "VALUES ('default', '{name}', {version}, 0, '{stage}', 'file:///evil', 'READY')"
)
ALIAS = "INSERT INTO registered_model_aliases (workspace, name, alias, version) VALUES ('default', 'fraud', '{alias}', {version})"


def forge(decided: str, digest: str = "sha256:a", at: int = 7, change: str = "gain") -> list[str]:
    """A decision and a grant for version 2 of the model to become champion, as they would be written."""
    return [
        "INSERT INTO lockgate_decisions "
        "(kind, model_id, target, version_id, policy_version, evidence_digest, by_id, reason, at) "
        f"SELECT 'break-glass', m.id, {decided}, 0, '{digest}', 1, '', 7 FROM lockgate_models m "
        "JOIN lockgate_versions v ON v.model_id = m.id AND v.number = 2 WHERE m.name = 'fraud'",
        *grants(change, at),
    ]


def grants(change: str = "gain", at: int = 7) -> list[str]:
    return [
        "INSERT INTO lockgate_grants (change, model_id, version_id, target, decision_id, evidence_digest, at) "
        f"SELECT '{change}', m.id, v.id, 'alias:champion', (SELECT max(id) FROM lockgate_decisions), 'sha256:a', {at} "
        "FROM lockgate_models m JOIN lockgate_versions v ON v.model_id = m.id AND v.number = 2 WHERE m.name = 'fraud'",
        "INSERT INTO lockgate_grants (change, model_id, version_id, target, decision_id, evidence_digest, at) "
        f"SELECT 'loss', m.id, v.id, 'alias:champion', (SELECT max(id) FROM lockgate_decisions), '', {at} "
        "FROM lockgate_models m JOIN lockgate_versions v ON v.model_id = m.id AND v.number = 1 WHERE m.name = 'fraud'",
    ]


MOVE = "UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'"
FITS = "'alias:champion', v.id"

REQUEST = (
    "INSERT INTO lockgate_requests (workspace, model_id, version_id, target, state, requester_id, comment, created_at,"
    " expires_at, policy_version, evidence, evidence_digest, gates, outcome) VALUES ('default', 'fraud', 'fraud3', "
    "'alias:champion', '{state}', 1, '', 0, 0, 0, '', '', '', '')"
)
