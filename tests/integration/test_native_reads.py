"""Reads that are answered natively say what a stock server says of the same database, whatever is asked."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from tests.house import House, Server, stock_server

ROOTS = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
ODD = "a b+%&=/ü€'\"\\😀"


class Both:
    """A Lockgate and a stock server on the same database."""

    def __init__(self, house: House, stock: Server) -> None:
        self.house = house
        self.stock = httpx.Client(base_url=stock.uri, timeout=60)
        self.plain = house.new_model(versions=1)
        self.rich = house.new_model(versions=0)
        self.empty = house.new_model(versions=0)
        self.gone = house.new_model(versions=1)
        with house.acting_as("ada") as client:
            fill(house, client, self.rich)
            client.delete_registered_model(self.gone)

    def ask(self, path: str, **call: Any) -> Any:
        """Return what is answered, which is the same from both."""
        answers = [each.get(path, **call) for each in (self.house.http("ada"), self.stock)]
        ours, theirs = ((answer.status_code, in_order(of(answer))) for answer in answers)
        if "(psycopg." in answers[1].text:  # It quotes the statement, which we never do.
            ours, theirs = ours[:1], theirs[:1]
        assert ours == theirs, path
        return ours


def fill(house: House, client: MlflowClient, model: str) -> None:
    """Give a model all that a model and its versions can have."""
    made = [house.new_version(client, model) for _ in range(7)]
    client.update_registered_model(model, f"about {ODD}")
    for key, value in (("z", "1"), ("a", ODD), ("empty", "")):
        client.set_registered_model_tag(model, key, value)
        client.set_model_version_tag(model, made[0], key, value)
    client.update_model_version(model, made[0], ODD)
    for alias, version in (("one", made[0]), ("also-one", made[0]), ("Two", made[1])):
        client.set_registered_model_alias(model, alias, version)
    house.new_version(client, model)
    for version, stage in ((made[2], "Staging"), (made[3], "Archived"), (made[4], "Staging"), (made[0], "Archived")):
        client.transition_model_version_stage(model, version, stage)
    client.delete_model_version(model, made[6])
    bare: ModelVersion = client.create_model_version(model, f"models:/{model}/{made[1]}")
    client.set_registered_model_alias(model, "bare", bare.version)


def of(answer: httpx.Response) -> Any:
    return answer.json() if answer.headers["content-type"] == "application/json" else answer.text


def in_order(value: Any) -> Any:
    """Return an answer with its tags and aliases in order: MLflow gives them in any."""
    if isinstance(value, dict):
        return {name: in_order(one) for name, one in value.items()}
    if isinstance(value, list):
        ordered = [in_order(one) for one in value]
        return ordered if ordered and "current_stage" in ordered[0] else sorted(ordered, key=str)
    return value


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def both(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("reads")
    house = House(folder, new_database(request.param))
    with closing(house):
        stock = stock_server(folder / "stock", house.open().backend)
        Path(folder / "stock").mkdir(exist_ok=True)
        stock.start()
        found = Both(house, stock)
        try:
            yield found
        finally:
            found.stock.close()
            stock.stop()


@pytest.mark.parametrize("root", ROOTS)
def test_versions(both: Both, root: str) -> None:
    for number in range(0, 12):
        for route in ("model-versions/get", "model-versions/get-download-uri"):
            both.ask(f"{root}/{route}", params={"name": both.rich, "version": str(number)})
    assert both.ask(f"{root}/model-versions/get", params={"name": both.rich, "version": "1"})[0] == 200


@pytest.mark.parametrize("version", ["01", " 1", "1.0", "+1", "-1", "x", "", "²", str(2**31), str(2**70), "None"])
def test_versions_that_are_hardly_numbers(both: Both, version: str) -> None:
    for route in ("model-versions/get", "model-versions/get-download-uri"):
        both.ask(f"{ROOTS[0]}/{route}", params={"name": both.plain, "version": version})


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("alias", ["one", "also-one", "Two", "two", "bare", "latest", "LATEST", "none", "", "v1", ODD])
def test_aliases(both: Both, root: str, alias: str) -> None:
    for name in (both.rich, both.plain, both.empty, both.gone, "nobody"):
        both.ask(f"{root}/registered-models/alias", params={"name": name, "alias": alias})


@pytest.mark.parametrize("root", ROOTS)
def test_models(both: Both, root: str) -> None:
    for name in (both.rich, both.plain, both.empty, both.gone, both.rich.upper(), "nobody", "", "a/b", ODD):
        both.ask(f"{root}/registered-models/get", params={"name": name})
    status, told = both.ask(f"{root}/registered-models/get", params={"name": both.rich})
    assert status == 200
    assert [one["current_stage"] for one in told["registered_model"]["latest_versions"]] == [
        "Archived",
        "None",
        "Staging",
    ]


@pytest.mark.parametrize(
    "query",
    [
        "", "name", "name=", "name={0}&name={0}", "name={0}&version=1&version=2", "name={0}&version=1&more=1",
        "name={0};version=1", "name=%FF&version=1", "name={0}&version=1&", "&name={0}&version=1", "name[]={0}&version=1",
        "NAME={0}&version=1", "name=%20{0}&version=1", "name={0}+&version=1", "name={0}%00&version=1",
    ],
)  # fmt: skip
def test_calls_that_are_unusual(both: Both, query: str) -> None:
    for route in ("model-versions/get", "model-versions/get-download-uri", "registered-models/get"):
        both.ask(f"{ROOTS[0]}/{route}?{query.format(both.plain)}")


def test_what_stands_in_bodies_and_headers_is_mlflows(both: Both) -> None:
    path = f"{ROOTS[0]}/model-versions/get"
    for http in (both.house.http("ada"), both.stock):
        answer = http.request("GET", path, json={"name": both.plain, "version": "1"})
        assert answer.json()["model_version"]["version"] == "1"
        answer = http.get(path, params={"name": both.plain, "version": "1"}, headers={"X-MLFLOW-WORKSPACE": "other"})
        assert answer.status_code >= 400
        assert http.head(path, params={"name": both.plain, "version": "1"}).content == b""


def test_what_may_not_be_seen_is_not_there(both: Both) -> None:
    house, who = both.house, f"near-{secrets.token_hex(3)}"
    house.call("admin", "POST", "/principals", {"name": who, "roles": [f"viewer:{both.plain}"]})
    house.tokens[who] = house.call("admin", "POST", "/tokens", {"principal": who})["token"]
    http, api = house.http(who), ROOTS[0]
    assert http.get(f"{api}/registered-models/get", params={"name": both.plain}).status_code == 200
    for route, asked in (
        ("registered-models/get", {}),
        ("registered-models/alias", {"alias": "one"}),
        ("model-versions/get", {"version": "1"}),
        ("model-versions/get-download-uri", {"version": "1"}),
    ):
        there, nowhere = (
            http.get(f"{api}/{route}", params={"name": name, **asked}) for name in (both.rich, f"{both.rich}-not")
        )
        assert there.status_code == nowhere.status_code == 404
        assert there.json() == {
            **nowhere.json(),
            "message": nowhere.json()["message"].replace(f"{both.rich}-not", both.rich),
        }


def test_nobody_reads_without_a_name(both: Both) -> None:
    answer = both.house.http(None).get(f"{ROOTS[0]}/registered-models/get", params={"name": both.plain})
    assert answer.status_code == 401


def test_what_is_usual_is_answered_here(both: Both) -> None:
    # MLflow's own answers are indented.
    asked = {"name": both.rich, "version": "1"}
    assert b"\n" not in both.house.http("ada").get(f"{ROOTS[0]}/model-versions/get", params=asked).content
    assert b"\n" in both.stock.get(f"{ROOTS[0]}/model-versions/get", params=asked).content
