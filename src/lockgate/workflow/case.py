"""A request as a case: its evidence, its reviews, and the verdict on them, looked at anew."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.access.sight import sees
from lockgate.database import (
    people,
    policies,
    requests,
    reviews,
)
from lockgate.database.history import CarriedOut
from lockgate.database.identities import Model, Version
from lockgate.decisions.verdict import Verdict, failing_since, have_come_to_pass, people_decide, said_of
from lockgate.errors import Conflict, ConflictOnRecord, NotFound
from lockgate.events.event import EventType
from lockgate.events.glance import glance
from lockgate.evidence.record import Evidence
from lockgate.gates.judge import GateResult
from lockgate.gates.policy import Rule
from lockgate.promotions.request import LIVE, PromotionRequest, State
from lockgate.registry.aftermath import end
from lockgate.registry.facts import Files, gather
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.registry.versions import asked_for
from lockgate.reviews.standing import Review
from lockgate.workflow.files import files_at
from lockgate.workflow.matter import Matter, weigh
from lockgate.workflow.sealed import seal
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Case:
    """A request, the evidence it is judged on, and what it has come to."""

    request: PromotionRequest
    rules: tuple[Rule, ...]
    evidence: Evidence
    #: Evidence of the version that holds the target now, if any gate compares with it.
    incumbent: Evidence | None
    reviews: tuple[Review, ...]
    excluded: Mapping[str, str]
    verdict: Verdict
    #: What changed in the evidence since it was last looked at, a phrase each.
    changes: tuple[str, ...] = ()
    #: Who is asked to review, or to review again.
    asked_reviewers: tuple[str, ...] = ()
    progress: str = ""
    #: The decision that it led to.
    carried_out: CarriedOut | None = None

    def at_a_glance(self) -> dict[str, Any]:
        """Return what events say of it."""
        said = glance(self.verdict.gates, self.evidence, self.verdict.unmet)
        return {"state": self.request.state, **said}


@dataclass(frozen=True)
class Opened:
    """A live request in a mutation of its model, judged on what is so now."""

    begun: Mutation
    case: Case
    files: Files


def request_named(stores: Stores, request_id: int) -> PromotionRequest:
    """Return a request by its number.

    Raises:
        NotFound: if there is none in this workspace.
    """
    with reading(stores.registry.engine) as session:
        found = requests.find(session, request_id, stores.registry.workspace)
    if found is None or not sees(current_caller(), found.model):
        raise _no_request(request_id)
    return found


def _no_request(request_id: int) -> NotFound:
    return NotFound(f"There is no promotion request {request_id}. `lockgate requests` lists them.")


@contextmanager
def opened(stores: Stores, request_id: int) -> Iterator[Opened]:
    """Begin a mutation of a live request's model, with the request judged anew.

    Raises:
        NotFound: if there is no such request.
        Conflict: if it has ended.
    """
    with reading(stores.registry.engine) as session:
        known = asked_for(session, stores.registry.workspace, request_id)
    if known is None or not sees(current_caller(), known.model):
        raise _no_request(request_id)
    files = files_at(stores, known.location)
    with stores.registry.mutation(known.model) as begun:
        case = assess(begun, stores, requests.get(begun.session, request_id), files)
        yield Opened(begun, case, files)


def study(
    session: Session,
    stores: Stores,
    request: PromotionRequest,
    evidence: Evidence,
    holder: int | None,
    now: datetime,
    progress: str = "",
    results: tuple[GateResult, ...] | None = None,
) -> Case:
    """Judge a request.

    Args:
        session: The transaction, or a session that reads.
        stores: The stores.
        request: The request.
        evidence: The evidence to judge it on.
        holder: The version number that holds the target now.
        now: The time.
        progress: How far hashing the version's files has come.
        results: What the gates came to when they were last judged; None to judge them now.
    """
    rules = policies.of_version(session, request.policy_version).policy.rules_for(request.model, request.target)
    given = tuple(reviews.of_requests(session, [request.id]).get(request.id, ()))
    matter = Matter(
        model=Model(request.model_id, request.workspace, request.model, 0),
        version_id=request.version_id,
        target=request.target,
        rules=rules,
        evidence=evidence,
        progress=progress,
        holder=holder,
        requester=request.requester,
        reviews=given,
    )
    judged = weigh(session, stores, matter, now, results)
    asked = reviews.asked_reviewers(session, [request.id]).get(request.id, ())
    return Case(
        request=request,
        rules=rules,
        evidence=evidence,
        incumbent=judged.incumbent,
        reviews=given,
        excluded=judged.excluded,
        verdict=judged.verdict,
        asked_reviewers=tuple(asked),
        progress=progress,
    )


def assess(begun: Mutation, stores: Stores, request: PromotionRequest, files: Files) -> Case:
    """Look at a live request again: gather its evidence anew, judge it, and keep what has come of it.

    Evidence that changed is frozen anew; approvals of what it was before are dismissed, and those who gave them are
    asked again.

    Args:
        begun: The mutation of the request's model.
        stores: The stores.
        request: The request.
        files: What is known of the version's files now.

    Raises:
        Conflict: if the request is no longer live.
    """
    check_live(begun, request)
    version = Version(request.version_id, request.version)
    evidence = gather(begun.session, stores.tracking, begun.model, version, files)
    if files.progress:
        # Nobody knows yet whether the bytes changed, so approvals of what they were are not dismissed yet.
        frozen = requests.evidence(begun.session, request.id)
        evidence = replace(
            evidence,
            artifacts=frozen.artifacts,
            model_file=frozen.model_file,
            signature=frozen.signature,
            has_input_example=frozen.has_input_example,
        )
    changed = None
    if evidence.digest != request.evidence_digest:
        changed = _freeze_anew(begun, request, evidence)
        request = replace(request, evidence_digest=evidence.digest)
    holder = begun.pointers.newest(request.target)
    if holder != request.incumbent:
        request = _against_another(begun, request, holder)
    case = study(begun.session, stores, request, evidence, holder, begun.now, files.progress)
    before = requests.set_gates(begun.session, request.id, case.verdict.gates)
    state = State.APPROVED if case.verdict.is_approved else State.OPEN
    if state is not request.state:
        request.check_change(state)
        requests.set_state(begun.session, request.id, state)
        if state is State.APPROVED and people_decide(case.rules):
            seal(begun, stores, request.version, request.version_id)
    assessed = replace(case, request=replace(request, state=state), changes=changed.phrases if changed else ())
    if changed is not None:
        _tell_of_change(begun, assessed, changed)
    _tell_of_gates(begun, assessed, before)
    return assessed


@dataclass(frozen=True)
class _Change:
    """Evidence that is not what it was."""

    before: str
    #: What differs, a phrase each.
    phrases: tuple[str, ...]
    #: Whose approvals it has dismissed.
    asked_again: tuple[str, ...]


def _tell_of_change(begun: Mutation, case: Case, changed: _Change) -> None:
    begun.record(
        EventType.EVIDENCE_CHANGED,
        version=case.request.version,
        target=str(case.request.target),
        request_id=case.request.id,
        before={"evidence": changed.before},
        after={
            "evidence": case.request.evidence_digest,
            "changes": changed.phrases[:_MAX_CHANGES],
            "asked_again": changed.asked_again,
            **case.at_a_glance(),
        },
    )


def _tell_of_gates(begun: Mutation, case: Case, before: Sequence[GateResult]) -> None:
    """Tell of gates that have come to fail since they were last judged, or that all of them pass by now."""
    failing = failing_since(before, case.verdict.gates)
    if not failing and not have_come_to_pass(before, case.verdict.gates):
        return
    begun.by_lockgate().record(
        EventType.GATE_FAILED if failing else EventType.GATES_PASSED,
        version=case.request.version,
        target=str(case.request.target),
        request_id=case.request.id,
        after=case.at_a_glance(),
        reason=" ".join(said_of(gate) for gate in failing),
    )


def _freeze_anew(begun: Mutation, request: PromotionRequest, evidence: Evidence) -> _Change:
    changes = evidence.changes_since(requests.evidence(begun.session, request.id))
    requests.set_evidence(begun.session, request.id, evidence)
    because = _briefly(changes) or "the evidence changed"
    dismissed = reviews.dismiss_approvals(begun.session, request.id, because)
    reviews.ask(begun.session, request.id, dismissed, None, begun.now)
    asked = people.load(begun.session, dismissed)
    names = sorted(principal.name for principal in asked.values())
    return _Change(request.evidence_digest, tuple(changes), tuple(names))


_MAX_CHANGES = 100
_MAX_SHOWN = 10


def _briefly(changes: Sequence[str]) -> str:
    more = f"; and {len(changes) - _MAX_SHOWN} more" if len(changes) > _MAX_SHOWN else ""
    return "; ".join(changes[:_MAX_SHOWN]) + more


def _against_another(begun: Mutation, request: PromotionRequest, holder: int | None) -> PromotionRequest:
    """Note that the target has another holder than the request was last judged against."""
    if holder is not None:
        begun.version(holder)  # It may have come there behind our back, and is an incumbent all the same.
    requests.set_incumbent(begun.session, request.id, holder)
    begun.record(
        EventType.INCUMBENT_CHANGED,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        before={"version": request.incumbent},
        after={"version": holder},
    )
    return replace(request, incumbent=holder)


def check_live(begun: Mutation, request: PromotionRequest) -> None:
    """Refuse a request that has ended, or ends now because its time is over.

    Raises:
        Conflict: saying how it ended.
    """
    if request.state not in LIVE:
        request.check_change(State.PROMOTED)
    if request.model_id != begun.model.id:
        raise Conflict(f"The model of promotion request {request.id} was renamed or deleted meanwhile. Look again.")
    if request.has_expired(begun.now):
        expire(begun, request)
        raise ConflictOnRecord(
            f"Promotion request {request.id} has expired. Open a new request if you still want this promotion."
        )


def expire(begun: Mutation, request: PromotionRequest) -> None:
    """End a request whose time is over."""
    end(begun.by_lockgate(), request, State.EXPIRED, EventType.REQUEST_EXPIRED, "its time was over")
