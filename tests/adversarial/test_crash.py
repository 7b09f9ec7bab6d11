"""kill -9 in the midst of promotions: after the restart, pointer, decision, audit entry and event agree.

`LOCKGATE_CRASHES` says how often the server is killed on each database; `LOCKGATE_CRASH_SEED` repeats a run's moments.
"""

import os
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.adversarial.test_race import Query, querying
from tests.house import ONE_APPROVAL, House

pytestmark = pytest.mark.long

CRASHES = int(os.environ.get("LOCKGATE_CRASHES", "4"))
SEED = int(os.environ.get("LOCKGATE_CRASH_SEED") or secrets.randbits(32))
MODELS = 2
VERSIONS = ("1", "2", "3")
TARGETS = ("stage:Production", "alias:champion")
#: More turns than a server lives through.
MOST_TURNS = 2000

# Four accounts of the same thing, as (model, target, version).
POINTERS = """
    SELECT name, 'stage:Production', version FROM model_versions WHERE current_stage = 'Production'
    UNION ALL SELECT name, 'alias:champion', version FROM registered_model_aliases WHERE alias = 'champion'
"""
NEWEST = "SELECT MAX(id) FROM lockgate_decisions GROUP BY model_id, target"
DECIDED = f"""
    SELECT m.name, d.target, v.number
    FROM lockgate_decisions d
    JOIN lockgate_models m ON m.id = d.model_id
    JOIN lockgate_versions v ON v.id = d.version_id
    WHERE d.id IN ({NEWEST})
"""
HELD = """
    SELECT m.name, h.target, v.number
    FROM lockgate_holders h
    JOIN lockgate_models m ON m.id = h.model_id
    JOIN lockgate_versions v ON v.id = h.version_id
    WHERE h.until IS NULL
"""
MOVES = "a.action IN ('promotion.done', 'rollback.done')"
AUDITED = f"SELECT a.model, a.target, a.version FROM lockgate_audit a WHERE {MOVES} AND a.decision_id IN ({NEWEST})"

#: What there must not be, each with the query that would find it.
ONE_WITHOUT_THE_OTHER = {
    "a decision without exactly one audit entry of the same move": f"""
        SELECT d.id FROM lockgate_decisions d
        JOIN lockgate_versions v ON v.id = d.version_id
        LEFT JOIN lockgate_audit a ON a.decision_id = d.id AND {MOVES}
            AND a.model_id = d.model_id AND a.target = d.target AND a.version = v.number
        GROUP BY d.id HAVING COUNT(a.id) <> 1
    """,
    "an audit entry of a move without its decision": f"""
        SELECT a.id FROM lockgate_audit a LEFT JOIN lockgate_decisions d ON d.id = a.decision_id
        WHERE {MOVES} AND d.id IS NULL
    """,
    "an audit entry without exactly one event": """
        SELECT a.id FROM lockgate_audit a LEFT JOIN lockgate_events e ON e.audit_id = a.id AND e.type = a.action
        GROUP BY a.id HAVING COUNT(e.id) <> 1
    """,
    "an event of no audit entry": """
        SELECT e.id FROM lockgate_events e LEFT JOIN lockgate_audit a ON a.id = e.audit_id WHERE a.id IS NULL
    """,
    "a promoted request without exactly one decision": """
        SELECT q.id FROM lockgate_requests q
        LEFT JOIN lockgate_decisions d
            ON d.request_id = q.id AND d.kind = 'promotion' AND d.version_id = q.version_id AND d.target = q.target
        WHERE q.state = 'promoted'
        GROUP BY q.id HAVING COUNT(d.id) <> 1
    """,
    "a promotion of a request that is not promoted": """
        SELECT d.id FROM lockgate_decisions d LEFT JOIN lockgate_requests q ON q.id = d.request_id
        WHERE d.kind = 'promotion' AND (q.state IS NULL OR q.state <> 'promoted')
    """,
    "a decision without exactly one time in office": """
        SELECT d.id FROM lockgate_decisions d
        LEFT JOIN lockgate_holders h
            ON h.decision_id = d.id AND h.model_id = d.model_id AND h.version_id = d.version_id AND h.target = d.target
        GROUP BY d.id HAVING COUNT(h.id) <> 1
    """,
    "two versions of a model in Production": """
        SELECT name FROM model_versions WHERE current_stage = 'Production' GROUP BY name HAVING COUNT(*) > 1
    """,
}


@dataclass
class Journal:
    """What the server was asked to do, and what it said it has done."""

    begun: Counter[str] = field(default_factory=Counter)
    promoted_requests: set[object] = field(default_factory=set)
    rollbacks: set[object] = field(default_factory=set)
    #: How long the newest call took, in seconds.
    pace: float = 0.1
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def acknowledged(self) -> int:
        return len(self.promoted_requests) + len(self.rollbacks)

    def begin(self, step: str) -> None:
        with self._changed:
            self.begun[step] += 1
            self._changed.notify_all()

    def acknowledge(self, which: set[object], number: object) -> None:
        with self._changed:
            which.add(number)
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, timeout=60), "nothing moves any more"


class Promoter:
    """Moves the targets of one model from version to version, over several lives of the server."""

    def __init__(self, house: House, journal: Journal) -> None:
        self._house = house
        self._journal = journal
        self._model = house.new_model(versions=len(VERSIONS))
        self._clients: dict[str, httpx.Client] = {}
        self._turns = 0
        self._step = ""

    def run_until_gone(self) -> str:
        """Promote until the server is gone; return what was being done then."""
        with ExitStack() as stack:
            for name in ("ada", "sue", "bot", "oz"):
                headers = {"Authorization": f"Bearer {self._house.tokens[name]}"}
                client = httpx.Client(base_url=self._house.uri, headers=headers, timeout=60)
                self._clients[name] = stack.enter_context(client)
            try:
                for _ in range(MOST_TURNS):
                    self._take_turn()
            except httpx.TransportError:
                return self._step
        raise AssertionError("nobody killed the server")

    def _take_turn(self) -> None:
        target = TARGETS[self._turns % len(TARGETS)]
        version = VERSIONS[self._turns % len(VERSIONS)]
        self._turns += 1
        self._lift_holds()
        self._promote(version, target)
        if self._turns % 4 == 0:
            self._roll_back(target)

    def _lift_holds(self) -> None:
        """Let what was rolled back be promoted again, also what a crash left on hold."""
        for hold in self._clients["sue"].get("/api/lockgate/v1/holds").json()["holds"]:
            if hold["model"] == self._model:
                self._clients["sue"].delete(f"/api/lockgate/v1/holds/{hold['id']}")

    def _promote(self, version: str, target: str) -> None:
        body = {"model": self._model, "version": version, "target": target}
        asked = self._post("ada", "ask", "/requests", body, 200, 201, 409)
        if asked.status_code == 409:  # The version holds the target already, since a turn that was cut short.
            return
        request = asked.json()["id"]
        self._post("sue", "approve", f"/requests/{request}/approve", {}, 200)
        self._post("bot", "promote", f"/requests/{request}/promote", {}, 200)
        self._journal.acknowledge(self._journal.promoted_requests, request)

    def _roll_back(self, target: str) -> None:
        body = {"target": target, "reason": "it was worse"}
        decided = self._post("oz", "roll back", f"/models/{self._model}/rollback", body, 200, 409)
        if decided.status_code == 200:
            self._journal.acknowledge(self._journal.rollbacks, decided.json()["id"])

    def _post(self, name: str, step: str, path: str, body: dict[str, str], *accepted: int) -> httpx.Response:
        self._step = step
        self._journal.begin(step)
        answer = self._clients[name].post(f"/api/lockgate/v1{path}", json=body)
        self._journal.pace = answer.elapsed.total_seconds()
        assert answer.status_code in accepted, f"{name} {path}: {answer.status_code} {answer.text}"
        return answer


def check_agreement(query: Query) -> None:
    pointers = sorted(query(POINTERS))
    assert pointers
    assert sorted(query(DECIDED)) == pointers
    assert sorted(query(HELD)) == pointers
    assert sorted(query(AUDITED)) == pointers
    for what, sql in ONE_WITHOUT_THE_OTHER.items():
        assert query(sql) == [], what
    assert query("SELECT COUNT(*) FROM lockgate_decisions") == query(
        f"SELECT COUNT(DISTINCT a.decision_id) FROM lockgate_audit a WHERE {MOVES}"
    )


def check_nothing_lost(query: Query, journal: Journal) -> int:
    """Return how many moves were made whose answer the crash kept from us."""
    promotions = {request for (request,) in query("SELECT request_id FROM lockgate_decisions WHERE kind = 'promotion'")}
    assert journal.promoted_requests <= promotions
    rollbacks = {decision for (decision,) in query("SELECT id FROM lockgate_decisions WHERE kind = 'rollback'")}
    assert journal.rollbacks <= rollbacks
    return len(promotions) + len(rollbacks) - journal.acknowledged


def await_moment(journal: Journal, chance: random.Random) -> None:
    """Let some promotions happen, then return somewhere in the midst of a step, mostly that of promoting."""
    enough = journal.acknowledged + chance.randint(1, 3)
    journal.wait_until(lambda: journal.acknowledged >= enough)
    step = chance.choice(("ask", "approve", "promote", "promote", "promote"))
    before = journal.begun[step]
    journal.wait_until(lambda: journal.begun[step] > before)
    time.sleep(chance.uniform(0, journal.pace))  # There is nothing to wait for: the moment shall be any.


def crash(house: House, promoters: list[Promoter], journal: Journal, chance: random.Random) -> list[str]:
    """Kill the server at some moment of some step; return what was being done then."""
    with ThreadPoolExecutor(len(promoters)) as threads:
        running = [threads.submit(promoter.run_until_gone) for promoter in promoters]
        try:
            await_moment(journal, chance)
            gone_before = [one.result() for one in running if one.done()]
        finally:
            house.server.kill()
        assert not gone_before, f"the server went by itself:\n{house.server.log[-4000:]}"
        return [one.result(timeout=90) for one in running]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(180 + 30 * CRASHES)
def test_no_crash_leaves_one_record_without_the_others(
    kind: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    print(f"LOCKGATE_CRASH_SEED={SEED}")
    chance = random.Random(f"{SEED} {kind}")
    journal = Journal()
    interrupted: Counter[str] = Counter()
    unanswered = 0
    with closing(House(tmp_path, new_database(kind))) as house:
        house.open().apply_policy(ONE_APPROVAL)
        promoters = [Promoter(house, journal) for _ in range(MODELS)]
        for _ in range(CRASHES):
            interrupted.update(crash(house, promoters, journal, chance))
            house.server.start()
            with querying(house.backend) as query:
                check_agreement(query)
                unanswered = check_nothing_lost(query, journal)
    print(f"{CRASHES} crashes interrupted {dict(interrupted)}")
    print(f"{journal.acknowledged} moves were acknowledged, {unanswered} made without an answer")
