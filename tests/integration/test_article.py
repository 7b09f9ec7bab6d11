"""The article's code runs with the real client against a real server, and what it meant to do happens."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from tests.conftest import BACKENDS
from tests.house import House
from tests.integration import article

POLICY = """\
version: 1
rules:
  - name: staging
    models: "*"
    targets: [stage:Staging]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.80"}
  - name: production
    models: "*"
    targets: [stage:Production, alias:champion]
    gates:
      - {name: auc-floor, expr: "metrics.val_auc >= 0.85"}
      - {name: documented, requires: {signature: true, input_example: true, run_tags: [data_version, git_commit]}}
    approvals: {required: 1, from: [group:senior]}
"""
MODEL = "fraud-detector"

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", params=BACKENDS)
def house(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A Lockgate of its own: the article has it to itself."""
    opened = House(tmp_path_factory.mktemp("article"), new_database(request.param)).open()
    opened.apply_policy(POLICY)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def data() -> tuple[Any, Any, Any, Any]:
    """Real data, in the order of `train_and_register`'s arguments."""
    x, y = load_breast_cancer(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.3, random_state=42)
    return x_train, y_train, x_val, y_val


def promote(house: House, version: str) -> None:
    asked = house.ask(MODEL, version, "stage:Production", by="junior")
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    with house.acting_as("bot"):
        article.promote_to_production(MODEL, version, "sue")


def test_the_article_from_training_to_rollback(house: House, data: tuple[Any, Any, Any, Any], tmp_path: Path) -> None:
    with house.acting_as("ada"):
        runs = [article.train_and_register(*data, {"n_estimators": trees, "max_depth": 6}) for trees in (5, 10)]
        article.register_if_good(runs[0], MODEL)
        assert article.register_if_good(runs[0], MODEL, min_auc=1.01) is None
    client = MlflowClient(house.uri)

    # Anybody could; now somebody with the right does.
    with house.acting_as("ada"), pytest.raises(MlflowException, match="releaser"):
        article.promote_to_staging(MODEL, "1", "ada")
    with house.acting_as("ci"):
        article.promote_to_staging(MODEL, "1", "ada")
        assert client.get_model_version(MODEL, "1").tags["staging_reviewer"] == "ada"
    with house.acting_as("junior"), pytest.raises(MlflowException, match="needs 1 more approval"):
        article.promote_to_production(MODEL, "2", "junior")

    promote(house, "1")
    promote(house, "2")
    # Version 3 was archived without ever having served: the highest archived number is not the one to go back to.
    with house.acting_as("bot"):
        client.transition_model_version_stage(MODEL, "3", "Archived")
    with house.acting_as("oz"):
        article.emergency_rollback(MODEL, "oz")
        assert client.get_model_version(MODEL, "1").current_stage == "Production"
        assert client.get_model_version(MODEL, "2").current_stage == "Archived"
    served = house.call("vic", "GET", f"/models/{MODEL}/history")["history"]
    assert [(h["version"], h["how"], h["by"]) for h in served if h["target"] == "stage:Production"] == [
        ("1", "promotion", "bot"),
        ("2", "promotion", "bot"),
        ("1", "rollback", "oz"),
    ]

    with house.acting_as("vic"):
        report = article.get_registry_report(MODEL)
        assert report["total_versions"] == 3
        assert report["by_stage"] == {"Production": 1, "Archived": 2}
        assert {v["metrics"]["val_auc"] > 0.85 for v in report["versions"]} == {True}
        found = article.find_models_by_data_version("v2024-01-15")
        assert {(f["model"], f["version"]) for f in found} == {(MODEL, v) for v in "123"}
        fraud_model = article.RegistryAwareModelCache(MODEL, stage="Production")
        assert len(fraud_model.get_model().predict(data[2][:3])) == 3
        assert fraud_model._version == "1"
        fraud_model.reload()


def test_aliases_and_namespaces(house: House, data: tuple[Any, Any, Any, Any]) -> None:
    old, new = "1", "2"
    with house.acting_as("ada") as client:
        client.set_registered_model_alias(name=MODEL, alias="challenger", version=new)
        client.set_registered_model_alias(name=MODEL, alias="shadow", version=old)
        with pytest.raises(MlflowException, match="PERMISSION_DENIED"):
            client.set_registered_model_alias(name=MODEL, alias="champion", version=new)
    (asked,) = house.call("vic", "GET", f"/requests?model={MODEL}&target=alias:champion")["requests"]
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    with house.acting_as("bot") as client:
        client.set_registered_model_alias(name=MODEL, alias="champion", version=new)
        model = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion")
        assert len(model.predict(data[2][:2])) == 2
        client.delete_registered_model_alias(name=MODEL, alias="challenger")
        client.create_registered_model(
            name="payments-fraud-transaction-scorer",
            tags={"domain": "payments", "team": "fraud", "use_case": "transaction_scoring"},
            description="Scores transactions for fraud probability. ",
        )
        client.create_registered_model(
            name="rec-personalization-item-ranker",
            tags={"domain": "recommendations", "team": "personalization"},
            description="Ranks items for personalized recommendation feeds.",
        )
        team_models = client.search_registered_models(filter_string="tags.team = 'fraud'")
        assert [m.name for m in team_models] == ["payments-fraud-transaction-scorer"]


def test_reject_with_a_comment(house: House) -> None:
    with house.acting_as("ada") as client:
        made = house.new_version(client, MODEL)
    asked = house.ask(MODEL, made, "stage:Production")
    rejected = house.call("sue", "POST", f"/requests/{asked['id']}/reject", {"comment": "not on a Friday"})
    assert rejected["state"] == "rejected"
    assert "not on a Friday" in rejected["outcome"]
    wanted = {"model": MODEL, "version": made, "target": "stage:Production"}
    blocked = house.call("ada", "POST", "/requests", wanted, status=403)
    assert "sue rejected version" in blocked["message"]
    house.call("sue", "POST", f"/requests/{asked['id']}/lift", {"comment": "it is Monday"})
    again = house.ask(MODEL, made, "stage:Production")
    assert again["id"] != asked["id"]
