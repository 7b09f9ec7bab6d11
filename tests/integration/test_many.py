"""Two instances on one PostgreSQL: what one of them remembers is never needed, and never trusted for long."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import psycopg
import pytest

from lockgate.access.attempts import PER_ACCOUNT
from tests.adversarial.test_race import querying
from tests.house import NO_RULES, ONE_APPROVAL, House, form_of

TARGET = "stage:Production"
Pair = tuple[House, House]


@pytest.fixture(scope="module")
def pair(new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    database = new_database("postgresql")
    folder = tmp_path_factory.mktemp("pair")
    with closing(House(folder / "one", database)) as one, closing(House(folder / "two", database)) as two:
        one.open().apply_policy(ONE_APPROVAL)
        two.server.start()
        two.tokens = one.tokens
        yield one, two


def test_a_promotion_goes_from_instance_to_instance(pair: Pair) -> None:
    one, two = pair
    model = one.new_model()
    asked = two.ask(model, "1", TARGET)
    one.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
    assert two.call("bot", "POST", f"/requests/{asked['id']}/promote", {})["state"] == "promoted"
    with one.acting_as("vic") as client:
        assert client.get_model_version(model, "1").current_stage == "Production"


def test_a_policy_binds_on_the_next_call_of_the_other_instance(pair: Pair) -> None:
    one, two = pair
    model = one.new_model()
    two.apply_policy(NO_RULES)
    try:
        with one.acting_as("ada") as client:
            client.set_registered_model_alias(model, "champion", "1")
    finally:
        one.apply_policy(ONE_APPROVAL)
    with two.acting_as("ada") as client, pytest.raises(Exception, match="may not go to"):
        client.transition_model_version_stage(model, "1", "Production")


def test_a_page_leads_to_the_next_on_the_other_instance(pair: Pair) -> None:
    one, two = pair
    first = one.call("admin", "GET", "/audit?max_results=1")
    second = two.call("admin", "GET", f"/audit?max_results=1&page_token={first['next_page_token']}")
    assert second["entries"][0]["id"] < first["entries"][0]["id"]


def test_a_session_begun_at_one_is_one_at_the_other_and_ends_at_both(pair: Pair) -> None:
    one, two = pair
    with httpx.Client(base_url=one.uri) as browser:
        hidden = form_of(browser.get("/lockgate/sign-in"))
        # The form itself may come from one instance and go to the other: cookies know no ports.
        answer = browser.post(
            f"{two.uri}/lockgate/sign-in", data={**hidden, "token": one.tokens["vic"]}, headers={"Origin": two.uri}
        )
        assert answer.status_code == 303, answer.text
        for house in pair:
            assert browser.get(f"{house.uri}/lockgate/requests").status_code == 200
        one.call("admin", "DELETE", "/principals/vic/sessions")
        for house in pair:
            assert browser.get(f"{house.uri}/lockgate/requests").status_code == 401


def test_guesses_are_counted_together(pair: Pair) -> None:
    one = pair[0]
    name, right = f"p-{secrets.token_hex(4)}", "correct horse battery"
    one.call("admin", "POST", "/principals", {"name": name, "roles": ["viewer"], "password": right})
    for number in range(PER_ACCOUNT):
        wrong = httpx.get(f"{pair[number % 2].uri}/api/lockgate/v1/tokens", auth=(name, f"wrong {number}"))
        assert wrong.status_code == 401
    for house in pair:
        refused = httpx.get(f"{house.uri}/api/lockgate/v1/tokens", auth=(name, right))
        assert (refused.status_code, "Too many attempts" in refused.text) == (401, True)


def test_what_a_standby_has_not_got_is_written_again(pair: Pair) -> None:
    """An instance remembers whom it has noted as an author; a database that was failed over may not have it."""
    one, _ = pair
    with one.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
        client.log_metric(run, "auc", 0.9)
        noted = f"SELECT p.name FROM lockgate_authors a JOIN lockgate_principals p ON p.id = a.principal_id WHERE a.object = '{run}'"
        one.sql(f"DELETE FROM lockgate_authors WHERE object = '{run}'")
        with psycopg.connect(one.backend, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for _ in range(3):  # the connections that were cut are found one by one
            try:
                client.log_metric(run, "auc", 0.91)
            except Exception:
                continue
        with querying(one.backend) as query:
            assert query(noted) == [("ada",)]


#: The threads of a worker that carry calls out.
THREADS = 40


def test_one_transaction_that_hangs_stops_the_others_for_a_while_only(pair: Pair) -> None:
    """Somebody keeps the head of the audit log in `psql`: writers are told so, and liveness is answered meanwhile."""
    one, two = pair
    model = one.new_model()
    asked = one.ask(model, "1", TARGET)
    headers = {"Authorization": f"Bearer {one.tokens['admin']}"}

    def ask_for_a_token(_: int) -> httpx.Response:
        return httpx.post(f"{two.uri}/api/lockgate/v1/tokens", json={"principal": "vic"}, headers=headers, timeout=120)

    with psycopg.connect(one.backend) as holding, ThreadPoolExecutor(THREADS + 5) as threads:
        holding.execute("SELECT * FROM lockgate_chain_head FOR UPDATE")
        waiting = [threads.submit(ask_for_a_token, number) for number in range(THREADS + 5)]
        time.sleep(2)
        assert httpx.get(f"{two.uri}/healthz", timeout=10).json() == {"status": "ok"}
        told = one.call("sue", "POST", f"/requests/{asked['id']}/approve", {}, 409)
        assert told["message"] == "The database is busy with other changes. Try again in a moment."
        holding.rollback()
        assert {call.result().status_code for call in waiting} <= {201, 409}
    assert one.call("sue", "POST", f"/requests/{asked['id']}/approve", {})["state"] == "approved"
