"""A request as a case: everything that its verdict rests on, and the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from lockgate.database import checks, history, identities, policies, requests
from lockgate.database.identities import Model
from lockgate.decisions.verdict import Verdict, decide
from lockgate.errors import Conflict, ConflictOnRecord
from lockgate.events.event import EventType
from lockgate.evidence.record import Evidence
from lockgate.gates.judge import Facts, judge
from lockgate.gates.policy import Rule
from lockgate.promotions.request import LIVE, PromotionRequest, State
from lockgate.registry.adoption import identify_version
from lockgate.registry.aftermath import end
from lockgate.registry.facts import ModelFile, gather
from lockgate.registry.mutation import Mutation
from lockgate.reviews.standing import Review
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Case:
    """A request, the evidence it is judged on, and what it has come to."""

    request: PromotionRequest
    rules: tuple[Rule, ...]
    evidence: Evidence
    #: Evidence of the version that holds the target now.
    incumbent: Evidence | None
    reviews: tuple[Review, ...]
    excluded: Mapping[str, str]
    verdict: Verdict
    #: What changed in the evidence since it was last looked at, a phrase each.
    changes: tuple[str, ...] = ()


def study(
    session: Session,
    stores: Stores,
    request: PromotionRequest,
    evidence: Evidence,
    holder: int | None,
    now: datetime,
) -> Case:
    """Judge a request.

    Args:
        session: The transaction, or a session that reads.
        stores: The stores.
        request: The request.
        evidence: The evidence to judge it on.
        holder: The version number that holds the target now.
        now: The time.
    """
    model = Model(request.model_id, request.workspace, request.model, 0, adopted=False)
    rules = policies.of_version(session, request.policy_version).policy.rules_for(request.model, request.target)
    incumbent = _incumbent(session, stores, model, holder)
    reviews = requests.reviews_of(session, [request.id]).get(request.id, [])
    excluded = exclusions(request.requester, evidence)
    facts = Facts(
        model=request.model,
        candidate=evidence,
        incumbent=incumbent,
        requester=request.requester,
        makers=frozenset(excluded),
        checks=checks.newest(session, [request.version_id]).get(request.version_id, {}),
        held_since=history.holding_since(session, request.version_id),
        now=now,
    )
    results = [result for rule in rules for result in judge(rule, facts)]
    verdict = decide(rules, results, reviews, request.model, evidence.digest, excluded, now)
    return Case(request, rules, evidence, incumbent, tuple(reviews), excluded, verdict)


def exclusions(requester: str, evidence: Evidence) -> dict[str, str]:
    """Return who may not approve, each with why."""
    excluded = dict.fromkeys(evidence.authors, "had a hand in the run behind this version")
    if evidence.registrar:
        excluded[evidence.registrar] = "registered this version"
    excluded[requester] = "asked for this promotion"
    return excluded


def _incumbent(session: Session, stores: Stores, model: Model, holder: int | None) -> Evidence | None:
    if holder is None:
        return None
    known = identities.version(session, model.id, holder)
    if known is None:
        return None
    return gather(session, stores.tracking, model, known, ModelFile())


def assess(begun: Mutation, stores: Stores, request: PromotionRequest, file: ModelFile) -> Case:
    """Look at a live request again: gather its evidence anew, judge it, and keep what has come of it.

    Evidence that changed is frozen anew; reviews of what it was before no longer count.

    Args:
        begun: The mutation of the request's model.
        stores: The stores.
        request: The request.
        file: What the version's `MLmodel` file says now.

    Raises:
        Conflict: if the request is no longer live.
    """
    check_live(begun, request)
    version = identify_version(begun.session, begun.model, request.version)
    evidence = gather(begun.session, stores.tracking, begun.model, version, file)
    changes: list[str] = []
    if evidence.digest != request.evidence_digest:
        changes = evidence.changes_since(requests.evidence(begun.session, request.id))
        requests.set_evidence(begun.session, request.id, evidence)
        begun.record(
            EventType.EVIDENCE_CHANGED,
            version=request.version,
            target=str(request.target),
            request_id=request.id,
            before={"evidence": request.evidence_digest},
            after={"evidence": evidence.digest, "changes": changes},
        )
        request = replace(request, evidence_digest=evidence.digest)
    holder = begun.pointers.newest(request.target)
    case = study(begun.session, stores, request, evidence, holder, begun.now)
    requests.set_gates(begun.session, request.id, case.verdict.gates)
    state = State.APPROVED if case.verdict.is_approved else State.OPEN
    if state is not request.state:
        request.check_change(state)
        requests.set_state(begun.session, request.id, state)
    return replace(case, request=replace(request, state=state), changes=tuple(changes))


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
    end(begun.by_lockgate(), request.id, State.EXPIRED, EventType.REQUEST_EXPIRED, "its time was over")
