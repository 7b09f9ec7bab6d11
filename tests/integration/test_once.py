"""Changes that are made once, however often they are asked for."""

import secrets
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.adversarial.test_race import querying
from tests.house import ONE_APPROVAL, House

API = "/api/lockgate/v1"
TARGET = "stage:Production"


@pytest.fixture(autouse=True)
def policy(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)


def new_key() -> str:
    return str(uuid.uuid4())


def send(house: House, who: str, method: str, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return house.http(who).request(method, f"{API}{path}", json=body, headers=headers)


def ends_of(house: House, request: int, action: str) -> int:
    """Return how many audit entries tell of something about a request."""
    with querying(house.backend) as query:
        sql = f"SELECT COUNT(*) FROM lockgate_audit WHERE request_id = {request} AND action = '{action}'"
        return int(str(query(sql)[0][0]))


def same(one: httpx.Response, other: httpx.Response) -> None:
    assert (one.status_code, one.content) == (other.status_code, other.content)
    assert "Idempotency-Replayed" not in one.headers
    assert other.headers["Idempotency-Replayed"] == "true"


def test_a_promotion_is_made_once_and_answered_the_same(house: House) -> None:
    model = house.new_model(versions=2)
    ask, key = {"model": model, "version": "1", "target": TARGET}, new_key()
    asked = send(house, "ada", "POST", "/requests", ask, key)
    assert asked.status_code == 201
    same(asked, send(house, "ada", "POST", "/requests", ask, key))
    number = asked.json()["id"]
    key = new_key()
    approved = send(house, "sue", "POST", f"/requests/{number}/approve", {}, key)
    same(approved, send(house, "sue", "POST", f"/requests/{number}/approve", {}, key))
    assert len(house.call("vic", "GET", f"/requests/{number}")["reviews"]) == 1
    key = f'"{new_key()}"'  # as the draft writes it
    done = send(house, "bot", "POST", f"/requests/{number}/promote", {}, key)
    assert (done.status_code, done.json()["state"]) == (200, "promoted")
    same(done, send(house, "bot", "POST", f"/requests/{number}/promote", {}, key.strip('"')))
    assert ends_of(house, number, "promotion.done") == 1
    house.promote(model, "2", TARGET)
    same(done, send(house, "bot", "POST", f"/requests/{number}/promote", {}, key))
    assert send(house, "bot", "POST", f"/requests/{number}/promote", {}).status_code == 409


def test_a_key_belongs_to_one_call_of_one_principal(house: House) -> None:
    models, key = [house.new_model(), house.new_model()], new_key()
    bodies = [{"model": model, "version": "1", "target": TARGET} for model in models]
    assert send(house, "ada", "POST", "/requests", bodies[0], key).status_code == 201
    refused = send(house, "ada", "POST", "/requests", bodies[1], key)
    assert (refused.status_code, refused.json()["error_code"]) == (422, "INVALID_PARAMETER_VALUE")
    assert "was used for another call" in refused.json()["message"]
    assert house.call("vic", "GET", f"/requests?model={models[1]}")["requests"] == []
    # Also with another query, and with a token that is narrowed.
    assert send(house, "ada", "POST", "/requests?a=b", bodies[0], key).status_code == 422
    narrow = house.call("ada", "POST", "/tokens", {"principal": "ada", "only": ["ask", "read"]})["token"]
    headers = {"Authorization": f"Bearer {narrow}", "Idempotency-Key": key}
    assert httpx.post(f"{house.uri}{API}/requests", json=bodies[0], headers=headers).status_code == 422
    assert send(house, "junior", "POST", "/requests", bodies[1], key).status_code == 201
    for bad in ("short", "with spaces in it, and long", "x" * 201):
        malformed = send(house, "ada", "POST", "/requests", bodies[0], bad)
        assert malformed.status_code == 400
        assert "such as a UUID" in malformed.json()["message"]


def test_two_keys_in_one_call_are_refused(house: House) -> None:
    headers = [("Idempotency-Key", str(uuid.uuid4())) for _ in range(2)]
    told = house.http("oz").post("/api/lockgate/v1/holds", json={}, headers=headers)
    assert (told.status_code, "more than one was sent" in told.text) == (400, True)


def test_refusals_on_record_are_answered_the_same_and_others_made_anew(house: House) -> None:
    model = house.new_model()
    number = house.ask(model, "1", TARGET)["id"]
    key = new_key()
    refused = send(house, "bot", "POST", f"/requests/{number}/promote", {}, key)
    assert refused.status_code == 403
    assert ends_of(house, number, "promotion.refused") == 1
    house.call("sue", "POST", f"/requests/{number}/approve", {})
    same(refused, send(house, "bot", "POST", f"/requests/{number}/promote", {}, key))
    assert ends_of(house, number, "promotion.refused") == 1
    # What left nothing on record is no answer to keep.
    name, key = f"p-{secrets.token_hex(4)}", new_key()
    assert send(house, "admin", "POST", "/tokens", {"principal": name}, key).status_code in (400, 404)
    house.call("admin", "POST", "/principals", {"name": name})
    made = send(house, "admin", "POST", "/tokens", {"principal": name}, key)
    assert made.status_code == 201
    same(made, send(house, "admin", "POST", "/tokens", {"principal": name}, key))


def test_the_database_does_not_tell_what_was_answered(house: House) -> None:
    key = new_key()
    made = send(house, "admin", "POST", "/tokens", {"principal": "vic"}, key)
    with querying(house.backend) as query:
        rows = query("SELECT key, answer FROM lockgate_calls")
    assert rows
    for kept, answer in rows:
        assert isinstance(answer, bytes)
        assert made.json()["token"].encode() not in answer
        assert key != kept


def test_nothing_is_answered_by_an_empty_answer(house: House) -> None:
    made = house.call("admin", "POST", "/tokens", {"principal": "vic"})
    key = new_key()
    gone = send(house, "admin", "DELETE", f"/tokens/{made['id']}", key=key)
    assert (gone.status_code, gone.content) == (204, b"")
    same(gone, send(house, "admin", "DELETE", f"/tokens/{made['id']}", key=key))


def test_keys_are_forgotten_after_a_day(house: House) -> None:
    keys = [new_key(), new_key()]
    first = [send(house, "admin", "POST", "/tokens", {"principal": "vic"}, key).json()["id"] for key in keys]
    house.sql("UPDATE lockgate_calls SET at = at - 86400001")
    again = send(house, "admin", "POST", "/tokens", {"principal": "vic"}, keys[0])
    assert (again.status_code, again.json()["id"] in first) == (201, False)
    with querying(house.backend) as query:
        assert query("SELECT COUNT(*) FROM lockgate_calls") == [(1,)]


def test_the_same_call_at_once_is_made_once(house: House) -> None:
    """Of what nothing makes wait for its turn, such as new tokens, and of promotions."""
    number = house.ask(house.new_model(), "1", TARGET)["id"]
    house.call("sue", "POST", f"/requests/{number}/approve", {})
    for who, path, body in (
        ("admin", "/tokens", {"principal": "vic"}),
        ("bot", f"/requests/{number}/promote", {}),
    ):
        key = new_key()
        headers = {"Authorization": f"Bearer {house.tokens[who]}", "Idempotency-Key": key}

        def call(_: int, path: str = path, body: Any = body, headers: Any = headers) -> httpx.Response:
            return httpx.post(f"{house.uri}{API}{path}", json=body, headers=headers, timeout=60)

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(call, range(8)))
        assert len({(answer.status_code, answer.content) for answer in answers}) == 1, [a.text for a in answers]
        assert answers[0].is_success
    assert ends_of(house, number, "promotion.done") == 1


def test_every_change_of_the_api_takes_a_key(house: House) -> None:
    paths = house.call("vic", "GET", "/openapi.json")["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            takes = any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", []))
            assert takes is (method != "get"), (method, path)


MLFLOW = "/api/2.0/mlflow"


def to_mlflow(house: House, who: str, method: str, path: str, body: Any, key: str) -> httpx.Response:
    return house.http(who).request(method, f"{MLFLOW}{path}", json=body, headers={"Idempotency-Key": key})


def test_mlflows_changes_of_registered_models_take_a_key(house: House) -> None:
    model, key = house.new_model(), new_key()
    with house.acting_as("ada") as client:
        run = client.get_model_version(model, "1").run_id
    registration = {"name": model, "source": f"runs:/{run}/model", "run_id": run}
    made = to_mlflow(house, "ada", "POST", "/model-versions/create", registration, key)
    assert made.json()["model_version"]["version"] == "2"
    same(made, to_mlflow(house, "ada", "POST", "/model-versions/create", registration, key))
    with house.acting_as("ada") as client:
        assert len(client.search_model_versions(f"name = '{model}'")) == 2
    described = {"name": model, "version": "2", "description": "another"}
    refused = to_mlflow(house, "ada", "PATCH", "/model-versions/update", described, key)
    assert (refused.status_code, refused.json()["error_code"]) == (422, "INVALID_PARAMETER_VALUE")
    # A refusal that opened a request is an answer; one that left nothing is made anew.
    key, alias = new_key(), {"name": model, "alias": "champion", "version": "2"}
    refused = to_mlflow(house, "ada", "POST", "/registered-models/alias", alias, key)
    assert refused.status_code == 403
    [asked] = house.call("vic", "GET", f"/requests?model={model}")["requests"]
    house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    same(refused, to_mlflow(house, "ada", "POST", "/registered-models/alias", alias, key))
    key = new_key()
    moved = to_mlflow(house, "bot", "POST", "/registered-models/alias", alias, key)
    assert moved.status_code == 200
    same(moved, to_mlflow(house, "bot", "POST", "/registered-models/alias", alias, key))
    assert ends_of(house, asked["id"], "promotion.done") == 1
    name, key = f"{model}-later", new_key()
    missing = to_mlflow(house, "ada", "POST", "/model-versions/create", {**registration, "name": name}, key)
    assert missing.status_code == 404
    house.new_model(name, versions=0)
    assert to_mlflow(house, "ada", "POST", "/model-versions/create", {**registration, "name": name}, key).is_success
    assert to_mlflow(house, "ada", "POST", "/registered-models/alias", alias, "short").status_code == 400


def test_other_changes_of_mlflows_refuse_a_key_and_what_reads_ignores_it(house: House) -> None:
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
    metric = {"run_id": run, "key": "auc", "value": 0.9, "timestamp": 1}
    refused = to_mlflow(house, "ada", "POST", "/runs/log-metric", metric, new_key())
    assert refused.status_code == 400
    assert "takes no Idempotency-Key, and nothing was changed" in refused.json()["message"]
    with house.acting_as("ada") as client:
        assert client.get_metric_history(run, "auc") == []
    assert to_mlflow(house, "ada", "POST", "/runs/search", {"experiment_ids": ["0"]}, new_key()).status_code == 200


def test_the_calls_of_databricks_dialect_take_a_key(house: House) -> None:
    model, key = house.new_model(), new_key()
    comment = {"name": model, "version": "1", "comment": "hello"}
    made = to_mlflow(house, "ada", "POST", "/comments/create", comment, key)
    assert made.status_code == 200
    same(made, to_mlflow(house, "ada", "POST", "/comments/create", comment, key))
    key, wanted = new_key(), {"name": model, "version": "1", "stage": "Production"}
    asked = to_mlflow(house, "ada", "POST", "/transition-requests/create", wanted, key)
    assert asked.status_code == 200
    same(asked, to_mlflow(house, "ada", "POST", "/transition-requests/create", wanted, key))


def test_another_instance_gives_the_same_answer_also_after_a_crash(
    new_database: Callable[[str], str], tmp_path: Path
) -> None:
    database = new_database("postgresql")
    with closing(House(tmp_path / "one", database)) as one, closing(House(tmp_path / "two", database)) as two:
        one.open().apply_policy(ONE_APPROVAL)
        two.server.start()
        two.tokens = one.tokens
        number, key = one.ask(one.new_model(), "1", TARGET)["id"], new_key()
        one.call("sue", "POST", f"/requests/{number}/approve", {})
        done = send(one, "bot", "POST", f"/requests/{number}/promote", {}, key)
        assert done.status_code == 200
        one.server.kill()
        again = send(two, "bot", "POST", f"/requests/{number}/promote", {}, key)
        # But for links, which lead to the instance that was called.
        assert again.json() == done.json()
