"""The one way in: every mutation of MLflow's store is one that we know, and leaves an entry."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import create_engine, text

from lockgate.access.principals import Caller, Kind, Principal, calling
from lockgate.access.roles import Role, RoleBinding
from lockgate.database import people
from lockgate.database.engine import now, real_uri
from lockgate.database.migrate import prepare_database
from lockgate.promotions.target import Target
from lockgate.registry.store import GovernedStore
from lockgate.registry.transaction import joining, transaction
from lockgate.workflow.gate import PolicyGate
from tests.conftest import BACKENDS
from tests.house import NO_RULES, House


def writing_methods() -> set[str]:
    """MLflow's own methods that open a session to write."""
    functions = inspect.getmembers(SqlAlchemyStore, inspect.isfunction)
    return {name for name, function in functions if "read_only=False" in inspect.getsource(function)}


def test_every_mutation_of_mlflows_is_written_out_in_ours() -> None:
    found = writing_methods()
    assert {"transition_model_version_stage", "set_registered_model_alias", "create_webhook"} <= found
    assert found <= set(vars(GovernedStore)), "MLflow has mutations that the gate doesn't know"


def test_what_is_not_written_out_can_not_write() -> None:
    class Refused(Exception):
        pass

    def refuse() -> None:
        raise Refused

    make_session = joining(create_engine("sqlite://"), lambda read_only: pytest.fail("a session was opened"), refuse)
    with pytest.raises(Refused), make_session(read_only=False):
        pass


class Overeager(SqlAlchemyStore):  # type: ignore[misc]
    """MLflow as it might become: setting an alias moves another one too."""

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        super().set_registered_model_alias(name, alias, version)
        super().set_registered_model_alias(name, "shadow", version)


class OnNewerMlflow(GovernedStore, Overeager):
    """Our store on it."""


class GateWithoutServer(PolicyGate):
    """The gate where no target is closed: whether one is, it asks the stores of a server."""

    def is_closed(self, name: str, target: Target) -> bool:
        return False

    def observe(self, name: str, version: int, target: Target) -> None:
        pass


@pytest.fixture(params=BACKENDS)
def on_newer_mlflow(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Iterator[GovernedStore]:
    """Our store, called by an admin."""
    uri = real_uri(new_database(request.param))
    prepare_database(uri)
    store = OnNewerMlflow(uri, GateWithoutServer())
    with transaction(store.engine) as session:
        root = people.add(session, "root", Kind.USER, now(session))
    with calling(Caller(Principal(root, "root", bindings=(RoleBinding(Role.ADMIN),)))):
        yield store


def test_a_method_that_mlflow_may_add_can_not_write(on_newer_mlflow: GovernedStore) -> None:
    refused = pytest.raises(MlflowException, match="did not come through Lockgate's gate")
    with refused, on_newer_mlflow.ManagedSessionMaker(read_only=False):
        pytest.fail("a session was opened")


def test_mlflow_moving_more_than_was_decided_changes_nothing(on_newer_mlflow: GovernedStore) -> None:
    on_newer_mlflow.create_registered_model("fraud")
    SqlAlchemyStore(on_newer_mlflow.db_uri).create_model_version("fraud", "file:///nowhere")
    with pytest.raises(MlflowException, match="moved other pointers than was decided"):
        on_newer_mlflow.set_registered_model_alias("fraud", "canary", "1")
    assert on_newer_mlflow.get_registered_model("fraud").aliases == {}


def rows(house: House, statement: str, **values: Any) -> list[Any]:
    engine = create_engine(real_uri(house.backend))
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(statement), values))
    finally:
        engine.dispose()


MUTATIONS: list[tuple[str, Callable[[MlflowClient, str], Any], str]] = [
    ("create", lambda c, m: c.create_registered_model(f"{m}-new", {"a": "b"}), "model.created"),
    ("describe", lambda c, m: c.update_registered_model(m, "text"), "model.updated"),
    ("tag", lambda c, m: c.set_registered_model_tag(m, "a", "b"), "model.updated"),
    ("untag", lambda c, m: c.delete_registered_model_tag(m, "a"), "model.updated"),
    ("version", lambda c, m: c.create_model_version(m, "s3://bucket/x", await_creation_for=0), "version.created"),
    ("describe version", lambda c, m: c.update_model_version(m, "1", "text"), "version.updated"),
    ("tag version", lambda c, m: c.set_model_version_tag(m, "1", "a", "b"), "version.updated"),
    ("untag version", lambda c, m: c.delete_model_version_tag(m, "1", "a"), "version.updated"),
    ("stage", lambda c, m: c.transition_model_version_stage(m, "1", "Production"), "target.moved"),
    ("archive", lambda c, m: c.transition_model_version_stage(m, "1", "Archived"), "target.moved"),
    ("alias", lambda c, m: c.set_registered_model_alias(m, "champion", "1"), "target.moved"),
    ("unalias", lambda c, m: c.delete_registered_model_alias(m, "shadow"), "target.moved"),
    ("delete version", lambda c, m: c.delete_model_version(m, "1"), "version.deleted"),
    ("rename", lambda c, m: c.rename_registered_model(m, f"{m}-renamed"), "model.renamed"),
    ("delete", lambda c, m: c.delete_registered_model(m), "model.deleted"),
]


@pytest.mark.parametrize(("mutate", "action"), [m[1:] for m in MUTATIONS], ids=[m[0] for m in MUTATIONS])
def test_each_mutation_leaves_one_entry_and_one_event(
    house: House, mutate: Callable[[MlflowClient, str], Any], action: str
) -> None:
    house.apply_policy(NO_RULES)
    model = house.new_model()
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(model, "shadow", "1")
    (last,) = rows(house, "SELECT max(id) FROM lockgate_audit")
    with house.acting_as("ada") as client:
        mutate(client, model)
    entries = rows(house, "SELECT * FROM lockgate_audit WHERE id > :last", last=last[0])
    assert [(e.action, e.actor, e.outcome, e.address) for e in entries] == [(action, "ada", "done", "127.0.0.1")]
    assert entries[0].model.startswith(model)
    events = rows(house, "SELECT * FROM lockgate_events WHERE audit_id > :last", last=last[0])
    assert [(e.type, e.audit_id) for e in events] == [(action, entries[0].id)]


@pytest.mark.parametrize(
    "mutate",
    [
        lambda c, m: c.create_registered_model(m),
        lambda c, m: c.set_registered_model_tag("nowhere", "a", "b"),
        lambda c, m: c.transition_model_version_stage(m, "9", "Production"),
        lambda c, m: c.transition_model_version_stage(m, "1", "Nowhere"),
        lambda c, m: c.set_registered_model_alias(m, "v1", "1"),
        lambda c, m: c.delete_model_version(m, "9"),
        lambda c, m: c.rename_registered_model("nowhere", m),
        lambda c, m: c.create_model_version("nowhere", "s3://bucket/x"),
    ],
)
def test_what_fails_leaves_nothing(house: House, mutate: Callable[[MlflowClient, str], Any]) -> None:
    house.apply_policy(NO_RULES)
    model = house.new_model()
    before = rows(house, "SELECT count(*) FROM lockgate_audit") + rows(house, "SELECT count(*) FROM lockgate_events")
    with house.acting_as("ada") as client, pytest.raises(MlflowException):
        mutate(client, model)
    after = rows(house, "SELECT count(*) FROM lockgate_audit") + rows(house, "SELECT count(*) FROM lockgate_events")
    assert after == before
