"""Eight clients promote eight versions of one model at the same moment: exactly one wins, with an approval.

Half of them carry out their request, half call MLflow's own API. How many rounds PostgreSQL gets is
`LOCKGATE_RACE_ROUNDS`. The same load on a stock MLflow server leaves several versions in Production.
"""

import os
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.house import ONE_APPROVAL, House, acting, stock_server

RACERS = 8
ROUNDS = {"postgresql": int(os.environ.get("LOCKGATE_RACE_ROUNDS", "12")), "sqlite": 5}
#: How many rounds the stock server has to go wrong in. It takes one or two.
STOCK_ROUNDS = 30
TARGET = "stage:Production"

IN_PRODUCTION = "SELECT version FROM model_versions WHERE current_stage = 'Production'"
HOLDERS = f"""
    SELECT v.number FROM lockgate_holders h JOIN lockgate_versions v ON v.id = h.version_id
    WHERE h.target = '{TARGET}' AND h.until IS NULL
"""
# Who holds the target by a promotion, the state of its request, and who approved exactly what was decided on.
APPROVED = f"""
    SELECT v.number, q.state, p.name
    FROM lockgate_holders h
    JOIN lockgate_decisions d
        ON d.id = h.decision_id AND d.version_id = h.version_id AND d.target = h.target AND d.kind = 'promotion'
    JOIN lockgate_requests q
        ON q.id = d.request_id AND q.version_id = d.version_id AND q.target = d.target
    JOIN lockgate_reviews r
        ON r.request_id = q.id AND r.verdict = 'approve' AND r.evidence_digest = d.evidence_digest
    JOIN lockgate_principals p ON p.id = r.reviewer_id
    JOIN lockgate_versions v ON v.id = d.version_id
    WHERE h.target = '{TARGET}' AND h.until IS NULL
"""
DECISIONS = "SELECT COUNT(*) FROM lockgate_decisions"
LEFT_APPROVED = "SELECT id FROM lockgate_requests WHERE state = 'approved'"

Query = Callable[[str], list[tuple[object, ...]]]


@dataclass(frozen=True)
class Entry:
    """One racer's attempt and what came of it."""

    version: str
    path: str
    body: dict[str, object]
    status: int = 0
    answer: str = ""


Race = Callable[[Sequence[Entry]], list[Entry]]


@contextmanager
def querying(backend: str) -> Iterator[Query]:
    """Ask a database directly, behind the server's back."""
    if backend.startswith("sqlite:///"):
        path = backend.removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
            yield lambda sql: file.execute(sql).fetchall()
    else:
        with psycopg.connect(backend, autocommit=True) as connection:
            yield lambda sql: connection.execute(sql.encode()).fetchall()


@contextmanager
def racetrack(uri: str, token: str | None) -> Iterator[Race]:
    """Yield a function that sends eight entries at once, each from a thread and a client of its own."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    line = threading.Barrier(RACERS, timeout=60)

    def run(client: httpx.Client, entry: Entry) -> Entry:
        line.wait()
        answer = client.post(entry.path, json=entry.body)
        return replace(entry, status=answer.status_code, answer=answer.text)

    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=uri, headers=headers, timeout=60)) for _ in range(RACERS)]
        threads = stack.enter_context(ThreadPoolExecutor(RACERS))
        yield lambda entries: list(threads.map(run, clients, entries, timeout=120))


def by_mlflow(model: str, version: str, archive: bool) -> Entry:
    body = {"name": model, "version": version, "stage": "Production", "archive_existing_versions": archive}
    return Entry(version, "/api/2.0/mlflow/model-versions/transition-stage", body)


def line_up(house: House, model: str, holder: str, number: int) -> list[Entry]:
    """Get every version but the holder approved; who takes which route changes from round to round."""
    versions = [str(version) for version in range(1, RACERS + 2) if str(version) != holder]
    entries = []
    for place, version in enumerate(versions):
        request = house.ask(model, version, TARGET)["id"]
        approved = house.call("sue", "POST", f"/requests/{request}/approve", {})
        assert approved["state"] == "approved"
        if (place + number) % 2:
            entries.append(by_mlflow(model, version, archive=number % 4 < 2))
        else:
            entries.append(Entry(version, f"/api/lockgate/v1/requests/{request}/promote", {}))
    return entries


def check_losers(entries: Sequence[Entry], winner: str) -> None:
    """Losers learn who won; a mere "try again" would be no way out."""
    won = re.compile(
        rf"Version {winner} took {TARGET} first \(request [0-9]+, by bot\), so promotion request [0-9]+ is"
    )
    for entry in entries:
        if entry.version != winner:
            assert entry.status == 409, entry
            assert won.search(entry.answer), entry


def check_database(query: Query, winner: str, decisions: int) -> None:
    assert query(IN_PRODUCTION) == [(int(winner),)]
    assert query(HOLDERS) == [(int(winner),)]
    assert query(APPROVED) == [(int(winner), "promoted", "sue")]
    assert query(DECISIONS) == [(decisions,)]
    assert query(LEFT_APPROVED) == []


def run_rounds(house: House, model: str, race: Race, query: Query, rounds: int) -> None:
    wins: Counter[str] = Counter()
    holder = "1"
    house.promote(model, holder, TARGET)
    for number in range(1, rounds + 1):
        entries = race(line_up(house, model, holder, number))
        winners = [entry for entry in entries if entry.status == 200]
        assert len(winners) == 1, f"round {number}: {entries}"
        holder = winners[0].version
        wins["promote" if "/requests/" in winners[0].path else "transition-stage"] += 1
        check_losers(entries, holder)
        check_database(query, holder, decisions=1 + number)
    print(f"{rounds} rounds, won by {dict(wins)}")


@pytest.mark.parametrize("kind", list(ROUNDS))
@pytest.mark.timeout(120 + 4 * max(ROUNDS.values()))
def test_of_promotions_at_once_exactly_one_wins(kind: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = stack.enter_context(closing(House(tmp_path, new_database(kind), "--workers", "2"))).open()
        house.apply_policy(ONE_APPROVAL)
        model = house.new_model(versions=RACERS + 1)
        race = stack.enter_context(racetrack(house.uri, house.tokens["bot"]))
        query = stack.enter_context(querying(house.backend))
        run_rounds(house, model, race, query, ROUNDS[kind])


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_the_same_load_breaks_a_stock_server(kind: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    """Without the gate this race is lost at once, so the test above can fail."""
    backend = new_database(kind)
    if kind == "postgresql":
        pytest.importorskip(
            "psycopg2", reason="with psycopg 3 stock MLflow can't archive: it compares text with numbers"
        )
    server = stock_server(tmp_path, backend.replace("postgresql:", "postgresql+psycopg2:"))
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        client = stack.enter_context(acting(server.uri, None))
        client.create_registered_model("stock")
        versions = [House.new_version(client, "stock") for _ in range(RACERS)]
        race = stack.enter_context(racetrack(server.uri, None))
        query = stack.enter_context(querying(backend))
        for _ in range(STOCK_ROUNDS):
            race([by_mlflow("stock", version, archive=True) for version in versions])
            if len(query(IN_PRODUCTION)) > 1:
                return
    pytest.fail(f"In {STOCK_ROUNDS} rounds the stock server never left several versions in Production.")
