"""Random lives of promotions: whatever people do, in whatever order, the product does what `life` says, and the
database holds what must always hold.

`LOCKGATE_MACHINE_EXAMPLES` lives of `LOCKGATE_MACHINE_STEPS` steps each; asked for, they are other ones every time.
"""

import hashlib
import itertools
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.adversarial.life import (
    ARCHIVED,
    CANARY,
    CHAMPION,
    LIVE,
    NO_STAGE,
    POLICIES,
    PRODUCTION,
    STAGING,
    Emergency,
    Life,
    Model,
    Person,
    Policy,
    Refusal,
    Request,
    Version,
)
from tests.house import CAST, House

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("LOCKGATE_MACHINE_EXAMPLES", "10"))
STEPS = int(os.environ.get("LOCKGATE_MACHINE_STEPS", "40"))
IS_LONG_RUN = "LOCKGATE_MACHINE_EXAMPLES" in os.environ or "LOCKGATE_MACHINE_STEPS" in os.environ
#: Each of them gets its numbers from the product.
NUMBERED = ("lockgate_requests", "lockgate_holds", "lockgate_freezes", "lockgate_break_glass")
MLFLOW = "/api/2.0/mlflow"
OURS = "/api/lockgate/v1"

EVERYBODY = ("admin", *CAST)
PEOPLE = st.sampled_from(EVERYBODY)
#: Mostly somebody who may, so that lives get somewhere; else anybody.
WRITERS = st.sampled_from(["ada", "ada", "junior", "ci", "oz", "sue"]) | PEOPLE
REVIEWERS = st.sampled_from(["sue", "sam", "sam", "rex"]) | PEOPLE
RELEASERS = st.sampled_from(["bot", "bot", "relay", "ci"]) | PEOPLE
OPERATORS = st.sampled_from(["oz", "oz", "admin"]) | PEOPLE
HOLDERS = st.sampled_from(["oz", "max", "sue"]) | PEOPLE
TARGETS = st.sampled_from([PRODUCTION, PRODUCTION, CHAMPION, CHAMPION, CANARY, STAGING])
PROTECTED = st.sampled_from([PRODUCTION, CHAMPION])
WHICH = st.integers(0, 11)

Query = Callable[..., list[tuple[Any, ...]]]
Chosen = TypeVar("Chosen")


@contextmanager
def database(backend: str) -> Iterator[Query]:
    """Speak to a database directly, behind the server's back."""
    if backend.startswith("sqlite:///"):
        path = backend.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as file:
            yield lambda sql, *values: file.execute(sql, values).fetchall()
    else:
        with psycopg.connect(backend, autocommit=True) as connection:

            def query(sql: str, *values: object) -> list[tuple[Any, ...]]:
                found = connection.execute(sql.replace("?", "%s").encode(), values)
                return found.fetchall() if found.description else []

            yield query


class Lives:
    """What all lives on one server share."""

    def __init__(self, house: House, query: Query) -> None:
        self.house = house
        self.query = query
        self.numbers = itertools.count(1)
        self.happened: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()


class LifeMachine(RuleBasedStateMachine):
    """Does the same to the product and to the model, and compares."""

    def __init__(self, lives: Lives) -> None:
        super().__init__()
        self.lives = lives
        self.house, self.query = lives.house, lives.query
        people = [Person("admin", frozenset({"admin"}))]
        for name, standing in CAST.items():
            is_senior, is_service = "senior" in standing.get("groups", ()), standing.get("kind") == "service"
            people.append(Person(name, frozenset(standing["roles"]), is_senior, is_service))
        self.life = Life(people, POLICIES[0])
        self.house.apply_policy(POLICIES[0].source)
        self.begin = {table: self.newest(table) for table in NUMBERED}
        self.decided = self.newest("lockgate_decisions")
        self.audited = self.turns = 0
        #: Which digest the product gave to which evidence.
        self.digests: dict[tuple[Version, object], str] = {}
        #: States of requests that have ended, as first seen.
        self.ended: dict[int, str] = {}

    def newest(self, table: str) -> int:
        return int(self.query(f"SELECT COALESCE(MAX(id), 0) FROM {table}")[0][0])

    # Doing a thing twice

    def send(self, who: str, method: str, path: str, body: object = None) -> httpx.Response:
        content = body if isinstance(body, bytes) else None
        answer = self.house.http(who).request(method, path, json=None if content else body, content=content)
        if not path.endswith("/history"):
            note(f"{who}: {method} {path} {body} -> {answer.status_code} {' '.join(answer.text[:200].split())}")
        assert answer.status_code < 500, answer.text
        assert answer.status_code != 429, answer.text
        return answer

    def both(self, model: Callable[..., str | None], who: str, *what: object, call: tuple[Any, ...]) -> Any:
        """Do something to the model and to the product: it happens in both, or in neither."""
        before = sum(request.state == "superseded" for request in self.life.requests)
        try:
            action, refusal = model(who, *what), None
        except Refusal as error:
            action, refusal = None, error
        self.audited = self.newest("lockgate_audit")
        answer = self.send(who, *call)
        name = model.__name__
        if refusal is not None:
            self.lives.refused[name] += 1
            assert 400 <= answer.status_code < 500, f"{name} must be refused: {refusal}"
            if refusal.audited:
                assert (who, refusal.audited, "refused") in self.audit(), f"{refusal.audited} is not on record"
            self.learn_numbers()
            return None
        self.lives.happened[action or name] += 1
        self.lives.happened["superseded"] += (
            sum(request.state == "superseded" for request in self.life.requests) - before
        )
        assert answer.is_success, f"{name} must be allowed: {answer.text}"
        if action:
            assert (who, action, "done") in self.audit(), f"{action} is not on record"
        self.learn_numbers()
        return answer.json() if answer.content else None

    def learn_numbers(self) -> None:
        """Give what is new in the model the number that it has in the product; there must be as much of it."""
        life = self.life
        for table, known in zip(NUMBERED, (life.requests, life.holds, life.freezes, life.emergencies), strict=True):
            numbers = [n for (n,) in self.query(f"SELECT id FROM {table} WHERE id > ? ORDER BY id", self.begin[table])]
            assert len(numbers) == len(known), f"{table} has {len(numbers)} new rows instead of {len(known)}"
            for number, one in zip(numbers, known, strict=True):
                one.id = number

    def digest_of(self, request: Request) -> str:
        found = self.query("SELECT evidence_digest FROM lockgate_requests WHERE id = ?", request.id)
        return str(found[0][0])

    def audit(self) -> set[tuple[str, str, str]]:
        found = self.query("SELECT actor, action, outcome FROM lockgate_audit WHERE id > ?", self.audited)
        return {(actor, action, outcome) for actor, action, outcome in found}

    # Choosing among what there is

    @staticmethod
    def pick(among: Sequence[Chosen], which: int) -> Chosen:
        return among[which % len(among)]

    def model_at(self, which: int) -> Model:
        return self.pick(self.life.models, which)

    def version_at(self, which: int) -> Version:
        return self.pick([version for model in self.life.models for version in model.living], which)

    def request_at(self, which: int) -> Request:
        """Mostly one that is alive."""
        live = self.life.live()
        return self.pick(live if live and which < 10 else self.life.requests, which)

    # The beginning

    @initialize()
    def two_models_of_two_versions(self) -> None:
        for letter in "ab":
            model = Model(f"life-{next(self.lives.numbers)}-{letter}")
            self.life.models.append(model)
            assert self.send("ada", "POST", f"{MLFLOW}/registered-models/create", {"name": model.name}).is_success
            for who in ("ada", "junior"):
                self.register(who, model)
        for which in (0, 1):
            self.go_the_whole_way_of(self.version_at(which), PRODUCTION)

    def register(self, who: str, model: Model) -> None:
        run = self.send(who, "POST", f"{MLFLOW}/runs/create", {"experiment_id": "0", "start_time": 1})
        run_id = run.json()["run"]["info"]["run_id"] if run.is_success else "none"
        tags = [{"key": "risk", "value": "low"}]
        body = {"name": model.name, "source": f"runs:/{run_id}/model", "run_id": run_id, "tags": tags}
        self.both(self.life.register, who, model, run_id, call=("POST", f"{MLFLOW}/model-versions/create", body))

    @precondition(lambda self: all(len(model.versions) < 5 for model in self.life.models))
    @rule(who=WRITERS, which=WHICH)
    def register_a_version(self, who: str, which: int) -> None:
        self.register(who, self.model_at(which))

    # Evidence

    @rule(who=WRITERS, which=WHICH)
    def log_a_metric(self, who: str, which: int) -> None:
        version = self.version_at(which)
        worth = version.metric + 1
        body = {"run_id": version.run_id, "key": "auc", "value": worth, "timestamp": worth, "step": 0}
        self.both(self.life.log_metric, who, version, call=("POST", f"{MLFLOW}/runs/log-metric", body))

    @rule(who=WRITERS, which=WHICH, value=st.sampled_from(["low", "high"]))
    def set_a_version_tag(self, who: str, which: int, value: str) -> None:
        self.tag(who, self.version_at(which), value)

    @precondition(lambda self: self.life.live())
    @rule(which=WHICH)
    def change_a_version_tag_and_back(self, which: int) -> None:
        """What an approval was about is gone for a moment; the approval does not come back with it."""
        request = self.pick(self.life.live(), which)
        before = request.version.tag
        for value in ("medium", before):
            self.tag("max", request.version, value)
            self.both(self.life.look, "vic", request, call=("GET", f"{OURS}/requests/{request.id}"))

    def tag(self, who: str, version: Version, value: str) -> None:
        body = {"name": version.model.name, "version": str(version.number), "key": "risk", "value": value}
        self.both(self.life.set_tag, who, version, value, call=("POST", f"{MLFLOW}/model-versions/set-tag", body))

    @rule(who=WRITERS, which=WHICH)
    def upload_a_file(self, who: str, which: int) -> None:
        version = self.version_at(which)
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{version.run_id}/artifacts/model/weights.bin"
        self.both(self.life.upload, who, version, call=("PUT", path, b"weights %d" % (version.files + 1)))

    @rule(who=st.sampled_from(["ci", "ci", "ada"]) | PEOPLE, which=WHICH, success=st.sampled_from([True, True, False]))
    def report_a_check(self, who: str, which: int, success: bool) -> None:
        self.report(who, self.version_at(which), success)

    def report(self, who: str, version: Version, success: bool) -> None:
        status = "success" if success else "failure"
        body = {"model": version.model.name, "version": str(version.number), "name": "test", "status": status}
        self.both(self.life.report_check, who, version, success, call=("POST", f"{OURS}/checks", body))

    # Requests and reviews

    @rule(who=WRITERS, which=WHICH, to=TARGETS)
    def ask(self, who: str, which: int, to: str) -> None:
        version = self.version_at(which)
        body = {"model": version.model.name, "version": str(version.number), "target": to}
        self.both(self.life.ask, who, version, to, call=("POST", f"{OURS}/requests", body))

    @precondition(lambda self: self.life.requests)
    @rule(who=PEOPLE, which=WHICH)
    def look(self, who: str, which: int) -> None:
        request = self.request_at(which)
        shown = self.both(self.life.look, who, request, call=("GET", f"{OURS}/requests/{request.id}"))
        assert shown is None or shown["state"] == request.state

    @precondition(lambda self: self.life.requests)
    @rule(who=REVIEWERS, which=WHICH)
    def approve(self, who: str, which: int) -> None:
        request = self.request_at(which)
        self.both(self.life.approve, who, request, None, call=("POST", f"{OURS}/requests/{request.id}/approve", {}))

    @precondition(lambda self: self.life.requests)
    @rule(who=REVIEWERS, which=WHICH, is_stale=st.sampled_from([False, False, True]))
    def approve_what_was_seen(self, who: str, which: int, is_stale: bool) -> None:
        request = self.request_at(which)
        digest = "sha256:of something else" if is_stale else self.digest_of(request)
        saw = "something else" if is_stale else request.evidence
        call = ("POST", f"{OURS}/requests/{request.id}/approve", {"evidence_digest": digest})
        self.both(self.life.approve, who, request, saw, call=call)

    @precondition(lambda self: self.life.requests)
    @rule(who=REVIEWERS, which=WHICH)
    def reject(self, who: str, which: int) -> None:
        request = self.request_at(which)
        self.both(self.life.reject, who, request, call=("POST", f"{OURS}/requests/{request.id}/reject", {}))

    @precondition(lambda self: any(request.state == "rejected" for request in self.life.requests))
    @rule(who=st.sampled_from(["max", "sue", "sam"]) | PEOPLE, which=WHICH)
    def lift_a_rejection(self, who: str, which: int) -> None:
        request = self.pick([known for known in self.life.requests if known.state == "rejected"], which)
        self.both(self.life.lift, who, request, call=("POST", f"{OURS}/requests/{request.id}/lift", {}))

    @precondition(lambda self: self.life.requests)
    @rule(who=PEOPLE, which=WHICH)
    def withdraw(self, who: str, which: int) -> None:
        request = self.request_at(which)
        self.both(self.life.withdraw, who, request, call=("POST", f"{OURS}/requests/{request.id}/withdraw", {}))

    @precondition(lambda self: self.life.requests)
    @rule(who=PEOPLE, which=WHICH)
    def comment(self, who: str, which: int) -> None:
        request = self.request_at(which)
        call = ("POST", f"{OURS}/requests/{request.id}/comment", {"comment": "I see."})
        self.both(self.life.comment, who, request, call=call)

    @precondition(lambda self: self.life.live())
    @rule(which=WHICH)
    def let_a_request_run_out_of_time(self, which: int) -> None:
        request = self.pick(self.life.live(), which)
        self.query("UPDATE lockgate_requests SET expires_at = created_at WHERE id = ?", request.id)
        request.is_overdue = True

    # Moving

    @precondition(lambda self: self.life.requests)
    @rule(who=RELEASERS, which=WHICH)
    def promote(self, who: str, which: int) -> None:
        request = self.request_at(which)
        self.both(self.life.promote, who, request, call=("POST", f"{OURS}/requests/{request.id}/promote", {}))

    @rule(which=WHICH, to=PROTECTED, by=st.sampled_from(["ci", "oz"]))
    def ask_and_approve(self, which: int, to: str, by: str) -> None:
        self.take_along(self.version_at(which), to, by)

    @rule(which=WHICH, to=PROTECTED)
    def go_the_whole_way(self, which: int, to: str) -> None:
        """All that a promotion can need, so that lives are not only refusals."""
        self.go_the_whole_way_of(self.version_at(which), to)

    def go_the_whole_way_of(self, version: Version, to: str) -> None:
        request = self.take_along(version, to, "ci")
        if request is not None:
            call = ("POST", f"{OURS}/requests/{request.id}/promote", {})
            self.both(self.life.promote, "bot", request, call=call)

    def take_along(self, version: Version, to: str, by: str) -> Request | None:
        """Ask for a version, let it pass its check, let everybody approve; return the request if it is still alive."""
        self.report("ci", version, True)
        body = {"model": version.model.name, "version": str(version.number), "target": to}
        self.both(self.life.ask, by, version, to, call=("POST", f"{OURS}/requests", body))
        mine = [request for request in self.life.live(version.model, to) if request.version is version]
        for request, who in itertools.product(mine, ("sam", "sue", "rex")):
            if request.state in LIVE:
                call = ("POST", f"{OURS}/requests/{request.id}/approve", {})
                self.both(self.life.approve, who, request, None, call=call)
        return next((request for request in mine if request.state in LIVE), None)

    @rule(
        who=st.sampled_from(["bot", "ada", "oz", "relay"]) | PEOPLE,
        which=WHICH,
        stage=st.sampled_from(["Production", "Production", "Staging", ARCHIVED, NO_STAGE]),
        archive=st.booleans(),
    )
    def transition_a_stage(self, who: str, which: int, stage: str, archive: bool) -> None:
        archive = archive and stage not in (ARCHIVED, NO_STAGE)  # MLflow takes it for no other stages.
        self.move_to_stage(who, self.version_at(which), stage, archive)

    def move_to_stage(self, who: str, version: Version, stage: str, archive: bool) -> None:
        body = {
            "name": version.model.name,
            "version": str(version.number),
            "stage": stage,
            "archive_existing_versions": archive,
        }
        call = ("POST", f"{MLFLOW}/model-versions/transition-stage", body)
        self.both(self.life.transition, who, version, stage, archive, call=call)

    @rule(who=st.sampled_from(["bot", "ada", "oz", "relay"]) | PEOPLE, which=WHICH, is_canary=st.booleans())
    def set_an_alias(self, who: str, which: int, is_canary: bool) -> None:
        self.point_alias(who, self.version_at(which), "canary" if is_canary else "champion")

    def point_alias(self, who: str, version: Version, alias: str) -> None:
        body = {"name": version.model.name, "alias": alias, "version": str(version.number)}
        self.both(self.life.set_alias, who, version, alias, call=("POST", f"{MLFLOW}/registered-models/alias", body))

    @rule(who=RELEASERS, which=WHICH, is_canary=st.booleans())
    def delete_an_alias(self, who: str, which: int, is_canary: bool) -> None:
        model, alias = self.model_at(which), "canary" if is_canary else "champion"
        call = ("DELETE", f"{MLFLOW}/registered-models/alias", {"name": model.name, "alias": alias})
        self.both(self.life.delete_alias, who, model, alias, call=call)

    @rule(who=OPERATORS, which=WHICH, to=TARGETS)
    def roll_back(self, who: str, which: int, to: str) -> None:
        self.go_back(who, self.model_at(which), to)

    @precondition(lambda self: self.ways_back())
    @rule(who=OPERATORS, which=WHICH, is_plain=st.booleans())
    def roll_back_to_what_served(self, who: str, which: int, is_plain: bool) -> None:
        """By our own call, or as scripts for MLflow do it: by moving the target to what served before."""
        version, target = self.pick(self.ways_back(), which)
        kind, _, name = target.partition(":")
        if not is_plain:
            self.go_back(who, version.model, target)
        elif kind == "stage":
            self.move_to_stage(who, version, name, archive=True)
        else:
            self.point_alias(who, version, name)

    def ways_back(self) -> list[tuple[Version, str]]:
        found = (
            (self.life.served_before(model, to), to) for model in self.life.models for to in (PRODUCTION, CHAMPION)
        )
        return [(version, to) for version, to in found if version is not None]

    def go_back(self, who: str, model: Model, to: str) -> None:
        call = ("POST", f"{OURS}/models/{model.name}/rollback", {"target": to, "reason": "it was worse"})
        self.both(self.life.roll_back, who, model, to, call=call)

    @rule(who=OPERATORS, which=WHICH, to=TARGETS)
    def break_the_glass(self, who: str, which: int, to: str) -> None:
        version = self.version_at(which)
        named = {"model": version.model.name, "version": str(version.number)}
        call = ("POST", f"{OURS}/break-glass", {**named, "target": to, "reason": "it burns"})
        self.both(self.life.break_glass, who, version, to, call=call)

    def emergency_at(self, which: int) -> Emergency:
        return self.pick(self.life.emergencies, which)

    @precondition(lambda self: self.life.emergencies)
    @rule(who=REVIEWERS, which=WHICH, verdict=st.sampled_from(["approve", "reject"]))
    def review_breaking_the_glass(self, who: str, which: int, verdict: str) -> None:
        emergency = self.emergency_at(which)
        call = ("POST", f"{OURS}/break-glass/{emergency.id}/review", {"verdict": verdict})
        self.both(self.life.review_break_glass, who, emergency, verdict, call=call)

    @precondition(lambda self: self.life.emergencies)
    @rule(which=WHICH)
    def let_a_review_become_overdue(self, which: int) -> None:
        emergency = self.emergency_at(which)
        self.query("UPDATE lockgate_break_glass SET review_by = at WHERE id = ?", emergency.id)
        emergency.is_overdue = True

    # Holds, freezes, names, people, policies

    @precondition(lambda self: sum(not hold.is_lifted for hold in self.life.holds) < 3)
    @rule(who=HOLDERS, which=WHICH, to=PROTECTED | st.none())
    def hold(self, who: str, which: int, to: str | None) -> None:
        version = self.version_at(which)
        named = {"model": version.model.name, "version": str(version.number)}
        call = ("POST", f"{OURS}/holds", {**named, "target": to, "reason": "wait"})
        self.both(self.life.hold, who, version, to, call=call)

    @precondition(lambda self: self.life.holds)
    @rule(who=HOLDERS, which=WHICH)
    def lift_a_hold(self, who: str, which: int) -> None:
        held = self.pick([hold for hold in self.life.holds if not hold.is_lifted] or self.life.holds, which)
        self.both(self.life.lift_hold, who, held, call=("DELETE", f"{OURS}/holds/{held.id}"))

    @precondition(lambda self: all(freeze.is_lifted for freeze in self.life.freezes))
    @rule(who=HOLDERS, which=WHICH, is_for_all=st.booleans(), to=PROTECTED | st.none())
    def freeze(self, who: str, which: int, is_for_all: bool, to: str | None) -> None:
        pattern = "*" if is_for_all else self.model_at(which).name
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        body = {"models": pattern, "target": to, "to": tomorrow, "reason": "holidays"}
        self.both(self.life.freeze, who, pattern, to, call=("POST", f"{OURS}/freezes", body))

    @precondition(lambda self: self.life.freezes)
    @rule(who=HOLDERS, which=WHICH)
    def lift_a_freeze(self, who: str, which: int) -> None:
        known = self.life.freezes
        freeze = self.pick([one for one in known if not one.is_lifted] or known, which)
        self.both(self.life.lift_freeze, who, freeze, call=("DELETE", f"{OURS}/freezes/{freeze.id}"))

    @precondition(lambda self: sum(len(model.living) for model in self.life.models) > 3)
    @rule(who=WRITERS, which=WHICH)
    def delete_a_version(self, who: str, which: int) -> None:
        version = self.version_at(which)
        body = {"name": version.model.name, "version": str(version.number)}
        self.both(self.life.delete_version, who, version, call=("DELETE", f"{MLFLOW}/model-versions/delete", body))

    @rule(who=WRITERS, which=WHICH)
    def rename(self, who: str, which: int) -> None:
        model, name = self.model_at(which), f"life-{next(self.lives.numbers)}-x"
        call = ("POST", f"{MLFLOW}/registered-models/rename", {"name": model.name, "new_name": name})
        self.both(self.life.rename, who, model, name, call=call)

    @rule(
        name=st.sampled_from(["sue", "sam", "rex", "bot"]),
        standing=st.sampled_from(["back", "back", "back", "away", "less"]),
    )
    def change_a_person(self, name: str, standing: str) -> None:
        roles = frozenset(CAST[name]["roles"]) - ({"reviewer", "releaser"} if standing == "less" else set())
        self.change(name, standing != "away", roles)

    def change(self, name: str, is_active: bool, roles: frozenset[str]) -> None:
        self.life.change_person(name, is_active, roles)
        body = {"active": is_active, "roles": sorted(roles)}
        assert self.send("admin", "PATCH", f"{OURS}/principals/{name}", body).is_success

    @rule(policy=st.sampled_from(POLICIES))
    def apply_a_policy(self, policy: Policy) -> None:
        self.life.apply_policy(policy)
        assert self.send("admin", "PUT", f"{OURS}/policies", {"source": policy.source}).is_success

    # What must always hold

    @invariant()
    def pointers_are_where_they_should_be(self) -> None:
        for model in self.life.models:
            staged = self.query(
                "SELECT version, current_stage FROM model_versions WHERE name = ? AND current_stage <> ?",
                model.name,
                "Deleted_Internal",
            )
            assert dict(staged) == {version.number: version.stage for version in model.living}
            aliased = self.query("SELECT alias, version FROM registered_model_aliases WHERE name = ?", model.name)
            assert dict(aliased) == {alias: version.number for alias, version in model.aliases.items()}
            assert len([stage for _, stage in staged if stage == "Production"]) <= 1, "production has two holders"

    @invariant()
    def history_agrees(self) -> None:
        """One model a step: what is wrong stays wrong."""
        self.turns += 1
        for model in self.life.models[self.turns % 2 :: 2]:
            told = self.send("vic", "GET", f"{OURS}/models/{model.name}/history").json()["history"]
            told = [(one["target"], int(one["version"]), one["how"], one["to"] is not None) for one in told]
            assert told == [(one.target, one.version.number, one.how, one.is_over) for one in model.history]
            for target in (PRODUCTION, STAGING, CHAMPION, CANARY):
                holding = {version for where, version, _, is_over in told if where == target and not is_over}
                assert holding == {version.number for version in model.holders(target)}

    @invariant()
    def requests_are_in_their_states(self) -> None:
        rows = self.query(
            "SELECT id, state, evidence_digest FROM lockgate_requests WHERE id > ? ORDER BY id",
            self.begin["lockgate_requests"],
        )
        assert [state for _, state, _ in rows] == [request.state for request in self.life.requests]
        for (number, state, digest), request in zip(rows, self.life.requests, strict=True):
            assert self.ended.get(number, state) == state, f"request {number} had ended as {self.ended[number]}"
            if state not in LIVE:
                self.ended[number] = state
            known = self.digests.setdefault((request.version, request.evidence), digest)
            assert known == digest, "the same evidence has two digests"
        for version in {request.version for request in self.life.requests}:
            digests = [digest for (of, _), digest in self.digests.items() if of is version]
            assert len(set(digests)) == len(digests), "two evidences have the same digest"

    @invariant()
    def no_approval_outlives_its_evidence(self) -> None:
        rows = self.query(
            """
            SELECT q.id, p.name FROM lockgate_reviews r
            JOIN lockgate_requests q ON q.id = r.request_id
            JOIN lockgate_principals p ON p.id = r.reviewer_id
            WHERE r.verdict = 'approve' AND r.dismissed IS NULL AND r.evidence_digest = q.evidence_digest AND q.id > ?
            """,
            self.begin["lockgate_requests"],
        )
        for request in self.life.requests:
            approvers = {name for number, name in rows if number == request.id}
            assert approvers == request.approvals
            if request.state == "approved" and request.rule:
                assert len(approvers) >= request.rule.required

    @invariant()
    def every_decision_is_valid(self) -> None:
        """By the tables alone, at the moment of the move."""
        columns = "d.id, d.kind, d.target, d.model_id, d.version_id, d.request_id, d.evidence_digest, p.name"
        rows = self.query(
            f"SELECT {columns} FROM lockgate_decisions d JOIN lockgate_principals p ON p.id = d.by_id WHERE d.id > ?",
            self.decided,
        )
        for number, kind, target, model_id, version_id, request_id, digest, by in rows:
            self.decided = max(self.decided, number)
            self.lives.happened[f"decided: {kind}"] += 1
            match kind:
                case "promotion":
                    self.check_promotion(request_id, version_id, target, digest, by)
                case "rollback":
                    assert self.has_role(by, "operator")
                    served = self.query(
                        "SELECT decision_id FROM lockgate_holders WHERE model_id = ? AND version_id = ? AND target = ?",
                        *(model_id, version_id, target),
                    )
                    assert len(served) > 1, "it never served before"
                case "break-glass":
                    assert self.has_role(by, "operator")
                    assert by not in ("ci", "bot", "relay")
                    assert self.query("SELECT id FROM lockgate_break_glass WHERE decision_id = ?", number)
                case _:
                    assert kind == "clearing"
                    assert version_id is None
                    assert self.has_role(by, "releaser")

    def check_promotion(self, request_id: int, version_id: str, target: str, digest: str, by: str) -> None:
        ((state, of_version, of_target, of_digest, evidence, requester, source),) = self.query(
            """
            SELECT q.state, q.version_id, q.target, q.evidence_digest, q.evidence, p.name, y.source
            FROM lockgate_requests q
            JOIN lockgate_principals p ON p.id = q.requester_id
            JOIN lockgate_policies y ON y.version = q.policy_version
            WHERE q.id = ?
            """,
            request_id,
        )
        assert (state, of_version, of_target, of_digest) == ("promoted", version_id, target, digest)
        assert digest == "sha256:" + hashlib.sha256(evidence.encode()).hexdigest()
        demanded = next(policy for policy in POLICIES if policy.source == source).rule_for(target)
        if demanded is None:
            assert target not in self.life.policy.targets
            return
        facts = json.loads(evidence)
        givers = self.query(
            """
            SELECT DISTINCT p.name FROM lockgate_reviews r
            JOIN lockgate_principals p ON p.id = r.reviewer_id
            WHERE r.request_id = ? AND r.verdict = 'approve' AND r.evidence_digest = ? AND r.dismissed IS NULL
                AND p.kind = 'user' AND p.active
            """,
            *(request_id, digest),
        )
        names = {name for (name,) in givers} - {requester, facts["registrar"], *facts["authors"]}
        counted = {name for name in names if self.has_role(name, "reviewer")}
        if demanded.only_seniors:
            counted = {name for name in counted if "senior" in CAST.get(name, {}).get("groups", ())}
        assert len(counted) >= demanded.required, f"approved by {counted} only"
        held = "SELECT id FROM lockgate_holds WHERE version_id = ? AND lifted_at IS NULL AND COALESCE(target, ?) = ?"
        assert not self.query(held, version_id, target, target), "it is on hold"
        if demanded.wants_check:
            newest = "SELECT status, evidence_digest FROM lockgate_checks WHERE version_id = ? ORDER BY id DESC LIMIT 1"
            assert self.query(newest, version_id) == [("success", digest)]
        assert self.has_role(by, "releaser") or (demanded.on_approval and (by in counted or self.may_ask(by)))

    def has_role(self, name: str, role: str) -> bool:
        rows = self.query(
            """
            SELECT b.role FROM lockgate_role_bindings b JOIN lockgate_principals p ON p.id = b.principal_id
            WHERE p.name = ? AND p.active
            """,
            name,
        )
        return bool({role, "admin"} & {held for (held,) in rows})

    def may_ask(self, name: str) -> bool:
        return self.has_role(name, "contributor") or self.has_role(name, "maintainer")

    def teardown(self) -> None:
        """Leave the cast as it was, and nothing frozen."""
        for freeze in self.life.freezes:
            if not freeze.is_lifted and freeze.id:
                self.send("admin", "DELETE", f"{OURS}/freezes/{freeze.id}")
        for name in ("sue", "sam", "rex", "bot"):
            if not self.life.people[name].is_active or self.life.people[name].roles != frozenset(CAST[name]["roles"]):
                self.change(name, True, frozenset(CAST[name]["roles"]))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(180 + EXAMPLES * STEPS)
def test_whatever_people_do(kind: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = stack.enter_context(closing(House(tmp_path, new_database(kind)))).open()
        lives = Lives(house, stack.enter_context(database(house.backend)))
        run_state_machine_as_test(
            lambda: LifeMachine(lives),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=not IS_LONG_RUN,
                print_blob=True,
                phases=(Phase.generate, Phase.shrink),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        print(f"{EXAMPLES} lives of {STEPS} steps")
        print(f"happened: {dict(lives.happened.most_common())}")
        print(f"refused: {dict(lives.refused.most_common())}")
