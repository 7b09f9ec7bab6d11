"""Replaying: moves of the past, and live requests, judged by a policy with everything as it was then, as far as that
is known. Nothing is written."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from lockgate.database import checks, history, holds, identities, requests, reviews
from lockgate.database.history import Move, Tenure, held_before
from lockgate.database.identities import Model
from lockgate.database.noted import about
from lockgate.decisions.objections import MoveOutcome, Objection, closed, covering, weigh_move, weigh_rollback
from lockgate.decisions.verdict import DecisionKind
from lockgate.evidence.record import NOT_LOOKED_AT, Evidence
from lockgate.gates.judge import Check, Facts
from lockgate.gates.policy import Policy, Rule
from lockgate.promotions.request import PromotionRequest
from lockgate.promotions.target import Target
from lockgate.registry.facts import Files, gather, read_model_file
from lockgate.registry.transaction import reading
from lockgate.registry.versions import location_of
from lockgate.reviews.standing import Review
from lockgate.workflow.files import locations_of
from lockgate.workflow.matter import Matter, exclusions, foreign_files, obstacles
from lockgate.workflow.stores import Stores

_AT_ONCE = 100


@dataclass(frozen=True)
class Judged:
    """A move of the past, or a live request as if it were carried out now, under the policy that is tried."""

    model: str
    version: int
    target: Target
    at: datetime
    #: promotion, rollback, break-glass, direct or adopted; `request` for a live request.
    how: str
    #: Who moved it, or who asks; None for a move before Lockgate.
    by: str | None
    request_id: int | None
    outcome: MoveOutcome
    #: `frozen` when it was asked for, or what MLflow's tables say `now`; nothing if no rule looks at it.
    evidence: str = ""
    objections: tuple[Objection, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Occasion:
    """A moment at which a version came to hold a target, or would."""

    model: Model
    model_deleted: bool
    version_id: str
    version: int
    version_deleted: bool
    target: Target
    at: datetime
    how: str
    by: str | None
    request_id: int | None
    #: Who held the model's targets just before.
    before: tuple[Tenure, ...]

    @property
    def incumbent(self) -> Tenure | None:
        """Who held the target; unknown where what went before was before Lockgate."""
        held = [tenure for tenure in self.before if tenure.target == self.target]
        return max(held, key=lambda tenure: tenure.version, default=None)


@dataclass(frozen=True)
class _Record:
    """What our tables hold about some occasions."""

    frozen: Mapping[int, requests.Frozen]
    reviews: Mapping[int, Sequence[Review]]
    checks: Mapping[str, Sequence[Check]]


class _TimeIsUp(Exception):
    """Whatever is not judged by now is left."""


class Replay:
    """Judges occasions by a policy.

    Args:
        stores: The stores.
        policy: The policy.
        seconds: After this time no further gate is judged.
    """

    def __init__(self, stores: Stores, policy: Policy, seconds: float) -> None:
        self._stores = stores
        self._policy = policy
        self._ends = time.monotonic() + seconds
        #: Whether the time was up before everything was looked at.
        self.was_cut = False
        self._now: dict[tuple[str, int, bool], Evidence | None] = {}

    def judge_moves(self, moves: Sequence[Move]) -> tuple[list[Judged], int]:
        """Judge moves; return how many were left out besides."""
        judged: list[Judged] = []
        left_out = 0
        for some in _batches(moves):
            with reading(self._stores.registry.engine) as session:
                tenures = history.tenures_of(session, {move.model.id for move in some})
                occasions = [_occasion_of_move(move, tenures.get(move.model.id, ())) for move in some]
                record = _look_up(session, occasions)
            for _, found in self._in_time(occasions, record):
                judged += [found] if found is not None else []
                left_out += found is None
        return judged, left_out

    def judge_requests(self, live: Sequence[PromotionRequest], now: datetime) -> list[Judged]:
        """Judge requests as if they were carried out now."""
        judged: list[Judged] = []
        for some in _batches(live):
            with reading(self._stores.registry.engine) as session:
                tenures = history.tenures_of(session, {request.model_id for request in some})
                occasions = [_occasion_of_request(one, tenures.get(one.model_id, ()), now) for one in some]
                record = _look_up(session, occasions)
            for occasion, found in self._in_time(occasions, record):
                judged += [self._with_obstacles(found, occasion, record)] if found is not None else []
        return judged

    def _in_time(self, occasions: Sequence[_Occasion], record: _Record) -> Iterator[tuple[_Occasion, Judged | None]]:
        """Judge occasions until the time is up."""
        try:
            for occasion in occasions:
                self._check_time()
                yield occasion, self._judge(occasion, record)
        except _TimeIsUp:
            self.was_cut = True

    def _check_time(self) -> None:
        if time.monotonic() >= self._ends:
            raise _TimeIsUp

    def _judge(self, occasion: _Occasion, record: _Record) -> Judged | None:
        """Judge an occasion; None if nothing is known any more about what moved."""
        rules = covering(self._policy, occasion.model.name, occasion.target)
        if occasion.how == DecisionKind.BREAK_GLASS:
            return _judged(occasion, MoveOutcome.EXEMPT)
        if occasion.how == DecisionKind.ROLLBACK:
            bound = weigh_rollback(rules, occasion.at)
            return _judged(occasion, MoveOutcome.REFUSED if bound else MoveOutcome.EXEMPT, objections=tuple(bound))
        objections = closed(self._policy, occasion.model.name, occasion.target)
        if not rules:
            return _judged(occasion, _outcome(objections), objections=tuple(objections))
        frozen = record.frozen.get(occasion.request_id or 0)
        candidate = frozen.evidence if frozen else self._evidence_now(occasion, rules)
        if candidate is None:
            return None
        found, warnings = self._weigh(occasion, rules, candidate, record)
        objections += found
        return _judged(
            occasion,
            _outcome(objections),
            evidence="frozen" if frozen else "now",
            objections=tuple(objections),
            warnings=tuple(warnings),
        )

    def _weigh(
        self, occasion: _Occasion, rules: Sequence[Rule], candidate: Evidence, record: _Record
    ) -> tuple[list[Objection], list[str]]:
        frozen = record.frozen.get(occasion.request_id or 0)
        requester = frozen.requester if frozen else occasion.by or ""
        with reading(self._stores.registry.engine) as session:
            excluded = exclusions(session, requester, candidate)
        facts = Facts(
            model=occasion.model.name,
            candidate=candidate,
            incumbent=self._incumbent(occasion, record),
            requester=requester,
            makers=frozenset(excluded),
            checks=_checks_then(occasion, candidate, record, is_frozen=frozen is not None),
            held_since={tenure.target: tenure.since for tenure in occasion.before if _is_of(tenure, occasion)},
            now=occasion.at,
        )
        reviews = record.reviews.get(occasion.request_id or 0, ())
        found, warnings = weigh_move(rules, facts, reviews, excluded, self._check_time)
        audited = all(rule.mode == "audit" for rule in rules)
        files = [Objection("", "files", sentence, audited) for sentence in foreign_files(candidate)]
        return files + found, warnings

    def _incumbent(self, occasion: _Occasion, record: _Record) -> Evidence | None:
        held = occasion.incumbent
        if held is None:
            return None
        frozen = record.frozen.get(held.request_id or 0)
        if frozen is not None:
            return frozen.evidence
        gone = held.version_deleted or occasion.model_deleted
        # Of one that is gone only the number is known: it was there, and nothing compares with it.
        return (None if gone else self._gathered(occasion.model, held.version)) or Evidence(held.version, 0)

    def _evidence_now(self, occasion: _Occasion, rules: Sequence[Rule]) -> Evidence | None:
        if occasion.model_deleted or occasion.version_deleted:
            return None
        return self._gathered(occasion.model, occasion.version, with_model_file=_look_at_model_file(rules))

    def _gathered(self, model: Model, number: int, with_model_file: bool = False) -> Evidence | None:
        """Return what MLflow's tables say now of a version; None if they have none of it."""
        key = (model.id, number, with_model_file)
        if key not in self._now:
            files = self._model_file(model, number) if with_model_file else Files()
            with reading(self._stores.registry.engine) as session:
                self._now[key] = _gather(session, self._stores, model, number, files)
        return self._now[key]

    def _model_file(self, model: Model, number: int) -> Files:
        with reading(self._stores.registry.engine) as session:
            location = location_of(session, model.workspace, model.name, number)
        if not location:
            return Files()
        return Files(NOT_LOOKED_AT, read_model_file(locations_of(self._stores, location)[0].uri))

    def _with_obstacles(self, judged: Judged, occasion: _Occasion, record: _Record) -> Judged:
        """Add what stands in a live request's way whatever the policy: holds, one-off freezes, overdue reviews."""
        frozen = record.frozen[occasion.request_id or 0]
        rules = covering(self._policy, occasion.model.name, occasion.target)
        matter = Matter(
            model=occasion.model,
            version_id=occasion.version_id,
            target=occasion.target,
            rules=rules,
            evidence=frozen.evidence,
            progress="",
            holder=occasion.incumbent.version if occasion.incumbent else None,
            requester=frozen.requester,
        )
        known = {objection.sentence for objection in judged.objections}
        audited = all(rule.mode == "audit" for rule in rules)
        with reading(self._stores.registry.engine) as session:
            noted = about(session, occasion.model, occasion.version_id, occasion.at)
            held = holds.on_version(session, occasion.version_id)
            found = [
                Objection("", "obstacle", sentence, audited)
                for sentence in obstacles(session, matter, noted, held, occasion.at)
                if sentence not in known
            ]
        objections = [*judged.objections, *found]
        return replace(judged, outcome=_outcome(objections), objections=tuple(objections))


_T = TypeVar("_T")


def _batches(things: Sequence[_T]) -> list[Sequence[_T]]:
    return [things[start : start + _AT_ONCE] for start in range(0, len(things), _AT_ONCE)]


def _outcome(objections: Sequence[Objection]) -> MoveOutcome:
    return MoveOutcome.REFUSED if objections else MoveOutcome.ALLOWED


def _judged(
    occasion: _Occasion,
    outcome: MoveOutcome,
    evidence: str = "",
    objections: tuple[Objection, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Judged:
    return Judged(
        model=occasion.model.name,
        version=occasion.version,
        target=occasion.target,
        at=occasion.at,
        how=occasion.how,
        by=occasion.by,
        request_id=occasion.request_id,
        outcome=outcome,
        evidence=evidence,
        objections=objections,
        warnings=warnings,
    )


def _occasion_of_move(move: Move, tenures: Iterable[Tenure]) -> _Occasion:
    moved = move.tenure
    return _Occasion(
        model=move.model,
        model_deleted=move.model_deleted,
        version_id=moved.version_id,
        version=moved.version,
        version_deleted=moved.version_deleted,
        target=moved.target,
        at=moved.since,
        how=moved.how,
        by=moved.by,
        request_id=moved.request_id,
        before=tuple(held_before(tenures, moved.since)),
    )


def _occasion_of_request(request: PromotionRequest, tenures: Iterable[Tenure], now: datetime) -> _Occasion:
    return _Occasion(
        model=Model(request.model_id, request.workspace, request.model, 0),
        model_deleted=False,
        version_id=request.version_id,
        version=request.version,
        version_deleted=False,
        target=request.target,
        at=now,
        how="request",
        by=request.requester,
        request_id=request.id,
        before=tuple(held_before(tenures, now)),
    )


def _look_up(session: Session, occasions: Sequence[_Occasion]) -> _Record:
    asked = {occasion.request_id for occasion in occasions if occasion.request_id is not None}
    of_incumbents = {held.request_id for one in occasions if (held := one.incumbent) and held.request_id is not None}
    return _Record(
        frozen=requests.frozen(session, asked | of_incumbents),
        reviews=reviews.of_requests(session, asked),
        checks=checks.reports(session, {occasion.version_id for occasion in occasions}),
    )


def _checks_then(occasion: _Occasion, candidate: Evidence, record: _Record, is_frozen: bool) -> dict[str, Check]:
    """Return the checks that counted then. What the evidence was without a request nobody knows any more: there,
    checks count as being about what it is now."""
    found = checks.newest_at(record.checks.get(occasion.version_id, ()), occasion.at)
    if is_frozen:
        return found
    return {name: replace(check, evidence_digest=candidate.digest) for name, check in found.items()}


def _is_of(tenure: Tenure, occasion: _Occasion) -> bool:
    return tenure.version_id == occasion.version_id


def _look_at_model_file(rules: Sequence[Rule]) -> bool:
    wanted = (gate.requires for rule in rules for gate in rule.gates)
    return any(requires is not None and (requires.signature or requires.input_example) for requires in wanted)


def _gather(session: Session, stores: Stores, model: Model, number: int, files: Files) -> Evidence | None:
    known = identities.version(session, model.id, number)
    if known is None:
        return None
    try:
        return gather(session, stores.tracking, model, known, files)
    except NoResultFound:
        return None  # It was deleted behind Lockgate's back.
