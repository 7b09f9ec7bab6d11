"""Asking for a promotion."""

from contextlib import suppress

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.sight import must_see
from lockgate.audit.entry import AuditOutcome
from lockgate.database import policies, requests, reviews
from lockgate.database.engine import now
from lockgate.database.policies import StoredPolicy
from lockgate.database.requests import NewRequest
from lockgate.decisions.verdict import uncovered
from lockgate.errors import BadInput, Conflict, NotFound, Outdated, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.gates.policy import DEFAULT_EXPIRY
from lockgate.promotions.lookalikes import alias_looks_like
from lockgate.promotions.request import PromotionRequest, valid_comment
from lockgate.promotions.target import Target
from lockgate.registry.adoption import identify_version
from lockgate.registry.facts import Files, gather
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.workflow.afterwards import look_again
from lockgate.workflow.case import Case, assess, expire
from lockgate.workflow.files import look_at_files
from lockgate.workflow.promote import carry_out_if_on_approval
from lockgate.workflow.stores import Stores


def submit(stores: Stores, name: str, version: int, target: Target, comment: str | None) -> tuple[Case, bool]:
    """Ask for a promotion.

    Args:
        stores: The stores.
        name: The model.
        version: The version's number.
        target: What shall move to it.
        comment: Why, for the reviewers.

    Returns:
        The case, and whether the request is new: the same thing asked twice is one request.

    Raises:
        NotFound: if there is no such model or version.
        Refused: if the caller may not ask, or no rule covers the model.
        Conflict: if the version holds the target already.
    """
    said = valid_comment(comment)
    must_see(current_caller(), name)
    current_caller().require(Permission.ASK, name)
    files = look_at_files(stores, name, version)
    with stores.registry.mutation(name) as begun:
        begun.caller.require(Permission.ASK, name)
        check_version(stores, begun, version)
        request, is_new = find_or_open(stores, begun, version, target, said, files)
        case = assess(begun, stores, request, files)
        if is_new:
            record_opened(begun, case)
        case = carry_out_if_on_approval(stores, begun, case)
    return look_again(stores, case), is_new


def find_or_open(
    stores: Stores,
    begun: Mutation,
    version: int,
    target: Target,
    comment: str,
    files: Files,
) -> tuple[PromotionRequest, bool]:
    """Return the live request for this, and whether it had to be opened.

    The caller puts it on record once it is judged (`record_opened`), so that the entry can say what it came to.
    """
    known = identify_version(begun.session, begun.model, version)
    for request in requests.live(begun.session, begun.model.id, target):
        if request.version_id == known.id and not request.has_expired(begun.now):
            return request, False
        if request.has_expired(begun.now):
            expire(begun, request)
    stored = policies.current(begun.session)
    _check_askable(begun, stored, version, target)
    _check_not_rejected(begun, known.id, version, target)
    evidence = gather(begun.session, stores.tracking, begun.model, known, files)
    rules = stored.policy.rules_for(begun.name, target)
    lifetime = min((rule.expires_after for rule in rules), default=DEFAULT_EXPIRY)
    request = requests.add(
        begun.session,
        NewRequest(
            workspace=begun.workspace,
            model_id=begun.model.id,
            version_id=known.id,
            target=target,
            requester_id=begun.caller.principal.id,
            comment=comment,
            created_at=begun.now,
            expires_at=begun.now + lifetime,
            policy_version=stored.version,
            evidence=evidence,
            incumbent=begun.pointers.newest(target),
        ),
    )
    return request, True


def record_opened(begun: Mutation, case: Case) -> None:
    """Put on record that a request was opened, and what it came to."""
    request = case.request
    begun.record(
        EventType.REQUEST_OPENED,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        after={"evidence": request.evidence_digest, "policy": request.policy_version, **case.at_a_glance()},
        reason=request.comment,
    )


def _check_askable(begun: Mutation, stored: StoredPolicy, version: int, target: Target) -> None:
    closed = uncovered(stored.policy, begun.name, target)
    if closed is not None:
        _record_refusal(begun, version, target, closed)
        raise RefusedOnRecord(closed, unmet=[closed])
    if begun.pointers.of(target) == {version}:
        raise Conflict(f"Version {version} of '{begun.name}' holds {target} already; there is nothing to ask for.")
    check_alias(stored, target)


def _check_not_rejected(begun: Mutation, version_id: str, version: int, target: Target) -> None:
    """Refuse to ask again for what was rejected, until somebody lifts the rejection.

    Raises:
        Refused: saying who rejected it, and who may lift that.
    """
    for rejection in reviews.rejections(begun.session, version_id, target):
        said = f": {rejection.comment.rstrip('.')}" if rejection.comment else ""
        reason = (
            f"{rejection.by} rejected version {version} of '{begun.name}' for {target} (request "
            f"{rejection.request_id}){said}. Before it can be asked for again, {rejection.by} or a maintainer lifts "
            f"that (`lockgate lift {rejection.request_id}`)."
        )
        _record_refusal(begun, version, target, reason)
        raise RefusedOnRecord(reason, unmet=[reason], rejected_in=rejection.request_id)


def _record_refusal(begun: Mutation, version: int, target: Target, reason: str) -> None:
    begun.record(
        EventType.PROMOTION_REFUSED,
        outcome=AuditOutcome.REFUSED,
        version=version,
        target=str(target),
        reason=reason,
    )


def check_alias(stored: StoredPolicy, target: Target) -> None:
    """Refuse an alias that could be taken for a closed one.

    Raises:
        BadInput: naming the closed alias.
    """
    if target.kind != "alias":
        return
    for protected in sorted(stored.policy.protected_aliases()):
        if alias_looks_like(target.name, protected):
            raise BadInput(
                f"The alias {target.name!r} could be taken for the protected alias '{protected}'. "
                "Choose a name that nobody can mistake."
            )


def check_version(stores: Stores, begun: Mutation, version: int) -> None:
    """Refuse a version that there is not.

    Raises:
        NotFound: in MLflow's words.
    """
    _ = begun.model
    if stores.registry._existing(begun, str(version)) is None:
        raise NotFound(f"Model Version (name={begun.name}, version={version}) not found")


def expire_overdue(stores: Stores) -> None:
    """End all requests whose time is over, so that lists tell the truth; not where this server may write no more."""
    with suppress(Outdated):
        _expire_overdue(stores)


def _expire_overdue(stores: Stores) -> None:
    with reading(stores.registry.engine) as session:
        overdue = requests.overdue(session, stores.registry.workspace, now(session))
    for name in overdue:
        with stores.registry.mutation(name) as begun:
            if begun.found is None:
                continue
            for request in requests.live(begun.session, begun.found.id):
                if request.has_expired(begun.now):
                    expire(begun, request)
