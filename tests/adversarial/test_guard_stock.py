"""A stock server on the guarded database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from tests.adversarial.serving_database import MODEL, ROLES, Databases, as_role, furnish, prepared
from tests.conftest import BACKENDS
from tests.house import House, acting, stock_server


@contextmanager
def stock(folder: Path, uri: str) -> Iterator[Any]:
    server = stock_server(folder, uri.replace("postgresql://", "postgresql+psycopg2://"))
    server.start()
    try:
        with acting(server.uri, None) as client:
            yield client
    finally:
        server.stop()


STOCK_ATTACKS: dict[str, Callable[[Any], Any]] = {
    "alias": lambda client: client.set_registered_model_alias(MODEL, "champion", "2"),
    "delete alias": lambda client: client.delete_registered_model_alias(MODEL, "champion"),
    "stage": lambda client: client.transition_model_version_stage(MODEL, "2", "Production"),
    "archive": lambda client: client.transition_model_version_stage(MODEL, "2", "Production", True),
    "unstage": lambda client: client.transition_model_version_stage(MODEL, "1", "None"),
    "delete version": lambda client: client.delete_model_version(MODEL, "1"),
    "rename": lambda client: client.rename_registered_model(MODEL, "gone"),
    "delete model": lambda client: client.delete_registered_model(MODEL),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", BACKENDS)
def test_a_stock_server_is_refused_with_our_sentence(
    kind: str, new_database: Callable[[str], str], guarded: Databases, tmp_path: Path
) -> None:
    open_to_all, kept = prepared(kind, new_database(kind)), guarded(kind)
    whole = open_to_all.serving()
    with stock(tmp_path, open_to_all.uri) as client:
        for name, attack in STOCK_ATTACKS.items():
            furnish(open_to_all.uri)
            attack(client)
            assert open_to_all.serving() != whole, f"{name} does nothing"

    before = kept.serving()
    role = ROLES.others if kind == "postgresql" else None
    with stock(tmp_path, as_role(kept.uri, role)) as client:
        for attack in STOCK_ATTACKS.values():
            with pytest.raises(MlflowException, match="Lockgate protects") as refused:
                attack(client)
            # MLflow takes whatever goes wrong with a rename for a name that is taken.
            assert refused.value.error_code in ("BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
        client.set_registered_model_alias("other", "canary", "1")
        client.create_registered_model("new")
        House.new_version(client, "new")
        client.transition_model_version_stage("new", "1", "Staging")
        client.rename_registered_model("new", "newer")
        client.delete_model_version("newer", "1")
        client.delete_registered_model("newer")
    assert kept.serving() == before
