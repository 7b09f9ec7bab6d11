"""Three instances on one PostgreSQL, eight clients, and changes of every kind at the same moment.

After each round the database is asked for what must never be: two versions holding a target, an alias of a version that
is not there, a pointer that history does not know, a move without its record. Whoever lost is told who won. Half of them
send an `Idempotency-Key`, and some of those repeat their call at another instance.
`LOCKGATE_RACE_ROUNDS` says how many rounds; `LOCKGATE_RACE_SEED` repeats their choices.
"""

import os
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.adversarial.test_crash import ONE_WITHOUT_THE_OTHER
from tests.adversarial.test_race import Query, querying
from tests.house import House

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("LOCKGATE_RACE_ROUNDS", "25"))
SEED = int(os.environ.get("LOCKGATE_RACE_SEED") or secrets.randbits(32))
INSTANCES = 3
CLIENTS = 8
#: In so many rounds the requests of one are approved by people.
REVIEWED = 5
FEWEST_VERSIONS = 4
#: After so many rounds somebody must have lost to another.
ENOUGH = 100
#: After so many rounds all that was ever done is looked at.
EVERY = 100

# Going to production takes an approval; the champion, only a metric, so that every call may be the one that moves it.
POLICY = """\
version: 1
rules:
  - name: production
    models: "*"
    targets: [stage:Production]
    approvals: {required: 1, from: [group:senior]}
  - name: champion
    models: "*"
    targets: [alias:champion]
    gates: [{name: good enough, expr: "metrics.val_auc >= %s"}]
"""
POLICIES = (POLICY % "0.8", POLICY % "0.80")

#: What there must not be, each with the query that would find it.
NEVER = {
    "two versions holding a target": """
        SELECT model_id, target FROM lockgate_holders WHERE until IS NULL AND target <> 'stage:Staging'
        GROUP BY model_id, target HAVING COUNT(*) > 1
    """,
    "two versions in production": """
        SELECT name FROM model_versions WHERE current_stage = 'Production' GROUP BY name HAVING COUNT(*) > 1
    """,
    "an alias of a version that is not there": """
        SELECT a.name, a.alias FROM registered_model_aliases a
        LEFT JOIN model_versions v ON v.name = a.name AND v.version = a.version AND v.current_stage <> 'Deleted_Internal'
        WHERE v.name IS NULL
    """,
    "a pointer that history does not know, or the other way round": """
        WITH pointers AS (
            SELECT name, 'alias:' || alias AS target, version FROM registered_model_aliases
            UNION ALL SELECT name, 'stage:' || current_stage, version FROM model_versions
            WHERE current_stage IN ('Production', 'Staging')
        ), held AS (
            SELECT m.name, h.target, v.number FROM lockgate_holders h
            JOIN lockgate_models m ON m.id = h.model_id JOIN lockgate_versions v ON v.id = h.version_id
            WHERE h.until IS NULL
        )
        (SELECT * FROM pointers EXCEPT SELECT * FROM held) UNION ALL (SELECT * FROM held EXCEPT SELECT * FROM pointers)
    """,
}
#: The same of all that was ever done, which takes longer the more that is.
NEVER_IN_ALL = {
    "two versions holding a target at the same time": """
        SELECT id FROM (
            SELECT id, since, MAX(COALESCE(until, 9223372036854775807)) OVER (
                PARTITION BY model_id, target ORDER BY since, until NULLS LAST, id
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS held_until
            FROM lockgate_holders WHERE target <> 'stage:Staging'
        ) AS one_after_the_other WHERE since < held_until
    """,
    "an audit entry without exactly one event": ONE_WITHOUT_THE_OTHER["an audit entry without exactly one event"],
    "a promoted request without exactly one decision": ONE_WITHOUT_THE_OTHER[
        "a promoted request without exactly one decision"
    ],
    "a promotion of a request that is not promoted": ONE_WITHOUT_THE_OTHER[
        "a promotion of a request that is not promoted"
    ],
}
WON = re.compile(r"Version ([0-9]+) took (stage:Production|alias:champion) first \((request [0-9]+, )?by [a-z]+\)")
SUPERSEDED = "SELECT id FROM lockgate_requests WHERE state = 'superseded' AND id >= {first}"


@dataclass(frozen=True)
class Entry:
    """One client's call and what came of it."""

    kind: str
    who: str
    method: str
    path: str
    body: dict[str, Any] | None
    request: int = 0
    #: The `Idempotency-Key`, if it has one.
    key: str = ""
    #: Whether it repeats the call, with its key, at another instance.
    repeats: bool = False
    status: int = 0
    answer: str = ""


class Field:
    """The instances, the clients, and one model that they all want to change."""

    def __init__(self, houses: Sequence[House], stack: ExitStack, chance: random.Random) -> None:
        self._houses = houses
        self._chance = chance
        self._line = Barrier(CLIENTS, timeout=60)
        self._threads = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        self._clients = [
            stack.enter_context(httpx.Client(base_url=houses[number % INSTANCES].uri, timeout=60))
            for number in range(CLIENTS)
        ]
        with houses[0].acting_as("ada") as client:
            run = client.create_run("0")
            client.log_metric(run.info.run_id, "val_auc", 0.9)
        self._run: str = run.info.run_id
        self._names = ["racer", "racer-renamed"]
        self.happened: Counter[str] = Counter()

    def _send(self, client: httpx.Client, entry: Entry) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._houses[0].tokens[entry.who]}"}
        if entry.key:
            headers["Idempotency-Key"] = entry.key
        return client.request(entry.method, entry.path, json=entry.body, headers=headers)

    def race(self, entries: Sequence[Entry]) -> list[Entry]:
        """Send the entries at once, each from a client of its own."""

        def run(number: int, entry: Entry) -> Entry:
            self._line.wait()
            answer = self._send(self._clients[number], entry)
            if entry.repeats:
                again = self._send(self._clients[(number + 1) % CLIENTS], entry)
                was_kept = "Idempotency-Replayed" in again.headers
                # What left nothing on record is made anew.
                assert was_kept or not answer.is_success, (entry, answer.text, again.text)
                assert not was_kept or (again.status_code, again.content) == (answer.status_code, answer.content)
                self.happened["repeated and answered the same" if was_kept else "repeated and made anew"] += 1
            return replace(entry, status=answer.status_code, answer=answer.text)

        return list(self._threads.map(run, range(CLIENTS), entries, timeout=120))

    def do(self, who: str, path: str, body: dict[str, Any], method: str = "POST") -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._houses[0].tokens[who]}"}
        return self._clients[0].request(method, path, json=body, headers=headers)

    def prepare(self, query: Query) -> tuple[str, list[int]]:
        """See that the model has enough versions; return its name now, and their numbers."""
        known = query("SELECT name FROM registered_models")
        if not known:
            self.do("ada", "/api/2.0/mlflow/registered-models/create", {"name": self._names[0]}).raise_for_status()
            known = [(self._names[0],)]
        name = str(known[0][0])
        living = "SELECT version FROM model_versions WHERE current_stage <> 'Deleted_Internal' ORDER BY version"
        versions = [int(str(number)) for (number,) in query(living)]
        while len(versions) < FEWEST_VERSIONS:
            versions.append(int(self.do("ada", *_registration(name, self._run)).json()["model_version"]["version"]))
        return name, versions

    def line_up(self, name: str, versions: Sequence[int], number: int) -> list[Entry]:
        """Return eight calls that get in each other's way."""
        entries = list(self._approved(name, versions)) if number % REVIEWED == 0 else []
        while len(entries) < CLIENTS:
            entries.append(self._any(name, self._chance.choice(versions)))
        self._chance.shuffle(entries)
        return [self._with_key(entry) if self._chance.random() < 0.5 else entry for entry in entries]

    def _with_key(self, entry: Entry) -> Entry:
        return replace(entry, key=f"{self._chance.getrandbits(128):032x}", repeats=self._chance.random() < 0.5)

    def _approved(self, name: str, versions: Sequence[int]) -> Iterator[Entry]:
        for version in self._chance.sample(versions, 3):
            ask = {"model": name, "version": str(version), "target": "stage:Production"}
            asked = self.do("junior", "/api/lockgate/v1/requests", ask)
            if not asked.is_success:  # it is there already
                continue
            request = asked.json()["id"]
            self.do("sue", f"/api/lockgate/v1/requests/{request}/approve", {}).raise_for_status()
            yield Entry("promote", "bot", "POST", f"/api/lockgate/v1/requests/{request}/promote", {}, request)
            if self._chance.random() < 0.3:
                path = f"/api/lockgate/v1/requests/{request}/withdraw"
                yield Entry("withdraw", "junior", "POST", path, {}, request)

    def _any(self, name: str, version: int) -> Entry:
        mlflow = "/api/2.0/mlflow"
        of_version = {"name": name, "version": str(version)}
        other = next(one for one in self._names if one != name)
        alias = {"name": name, "alias": self._chance.choice(("champion", "champion", "shadow"))}
        stage = {"stage": self._chance.choice(("Production", "Staging", "None")), "archive_existing_versions": False}
        target = self._chance.choice(("stage:Production", "alias:champion"))
        aliases = f"{mlflow}/registered-models/alias"
        choices: list[tuple[int, Entry]] = [
            (8, Entry("set alias", "bot", "POST", aliases, {**alias, "version": str(version)})),
            (2, Entry("delete alias", "bot", "DELETE", aliases, alias)),
            (4, Entry("transition", "bot", "POST", f"{mlflow}/model-versions/transition-stage", {**of_version, **stage})),
            (3, Entry("delete version", "ada", "DELETE", f"{mlflow}/model-versions/delete", of_version)),
            (1, Entry("delete model", "ada", "DELETE", f"{mlflow}/registered-models/delete", {"name": name})),
            (2, Entry("rename", "ada", "POST", f"{mlflow}/registered-models/rename", {"name": name, "new_name": other})),
            (1, Entry("policy", "admin", "PUT", "/api/lockgate/v1/policies", {"source": self._chance.choice(POLICIES)})),
            (2, Entry("roll back", "oz", "POST", f"/api/lockgate/v1/models/{name}/rollback",
                      {"target": target, "reason": "it was worse"})),
            (2, Entry("register", "ada", "POST", *_registration(name, self._run))),
        ]  # fmt: skip
        weights = [weight for weight, _ in choices]
        return self._chance.choices([entry for _, entry in choices], weights)[0]


def _registration(name: str, run: str) -> tuple[str, dict[str, Any]]:
    return "/api/2.0/mlflow/model-versions/create", {"name": name, "source": f"runs:/{run}/model", "run_id": run}


def check_answers(entries: Sequence[Entry], superseded: set[object]) -> int:
    """Return how many lost to another, having seen that each was told to whom."""
    lost = 0
    for entry in entries:
        assert entry.status in (200, 201, 400, 403, 404, 409), entry
        if entry.kind == "promote" and entry.request in superseded:
            # What was on hold, or whose model had another name for a moment, was refused before it was overtaken.
            before = {403: "on hold", 404: "not found"}.get(entry.status)
            assert entry.status == 409 or (before is not None and before in entry.answer), entry
            assert entry.status != 409 or WON.search(entry.answer), entry
            lost += entry.status == 409
        elif "superseded" in entry.answer:
            assert WON.search(entry.answer), entry
    return lost


def check_never(query: Query, never: dict[str, str], when: str) -> None:
    for what, sql in never.items():
        assert query(sql) == [], f"{when}: {what}"


@pytest.mark.timeout(240 + 3 * ROUNDS)
def test_no_round_leaves_what_must_never_be(new_database: Callable[[str], str], tmp_path: Path) -> None:
    print(f"LOCKGATE_RACE_SEED={SEED}")
    database = new_database("postgresql")
    began = time.monotonic()
    lost = 0
    with ExitStack() as stack:
        houses = [stack.enter_context(closing(House(tmp_path / str(n), database))) for n in range(INSTANCES)]
        houses[0].open().apply_policy(POLICIES[0])
        for house in houses[1:]:
            house.server.start()
        field = Field(houses, stack, random.Random(SEED))
        query = stack.enter_context(querying(database))
        for number in range(ROUNDS):
            first = query("SELECT COALESCE(MAX(id), 0) + 1 FROM lockgate_requests")[0][0]
            entries = field.race(field.line_up(*field.prepare(query), number))
            field.happened.update(f"{entry.kind} {entry.status}" for entry in entries)
            superseded = {request for (request,) in query(SUPERSEDED.format(first=first))}
            lost += check_answers(entries, superseded)
            check_never(query, NEVER, f"round {number}: {entries}")
            if (number + 1) % EVERY == 0 or number + 1 == ROUNDS:
                check_never(query, NEVER_IN_ALL, f"by round {number}")
                print(f"{number + 1} rounds in {time.monotonic() - began:.0f} s", flush=True)
    print(f"{ROUNDS} rounds in {time.monotonic() - began:.0f} s; {lost} promotions lost to another and were told which")
    print(dict(sorted(field.happened.items())))
    assert lost > 0 or ROUNDS < ENOUGH
