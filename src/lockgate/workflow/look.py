"""Looking: requests with their verdict of now, lists of them, the audit log. A live request
that is looked at is judged anew, on its evidence of now."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.sight import sight_of
from lockgate.database import history, policies, record, requests, reviews
from lockgate.database.engine import now
from lockgate.database.history import CarriedOut
from lockgate.decisions.verdict import Verdict
from lockgate.errors import Outdated
from lockgate.promotions.request import LIVE, PromotionRequest, State
from lockgate.registry import pointers
from lockgate.registry.transaction import reading
from lockgate.workflow.case import Case, assess, request_named, study
from lockgate.workflow.files import look_at_files
from lockgate.workflow.matter import exclusions
from lockgate.workflow.stores import Stores
from lockgate.workflow.submit import expire_overdue


def request(stores: Stores, request_id: int) -> Case:
    """Return a request with its verdict: of now while it is live, of its end afterwards.

    Raises:
        NotFound: if there is none of this number.
    """
    expire_overdue(stores)
    found = request_named(stores, request_id)
    if found.state in LIVE:
        # A server that may not write any more still shows what it reads.
        with suppress(Outdated):
            return _looked_at_again(stores, found)
    with reading(stores.registry.engine) as session:
        return _case(session, stores, found, _carried_out(session, [found]))


def _looked_at_again(stores: Stores, found: PromotionRequest) -> Case:
    """Show what the evidence is now. If it changed, it is frozen anew: what is shown is what can be approved."""
    files = look_at_files(stores, found.model, found.version)
    with stores.registry.mutation(found.model) as begun:
        request = requests.get(begun.session, found.id)
        if request.state not in LIVE or request.has_expired(begun.now):
            return _case(begun.session, stores, request, _carried_out(begun.session, [request]))
        return assess(begun.by_lockgate(), stores, request, files)


@dataclass(frozen=True)
class Page:
    """Some requests, newest first, and where to go on."""

    cases: tuple[Case, ...]
    next_before: int | None


def search(stores: Stores, wanted: requests.Filter, limit: int) -> Page:
    """Return the requests that a filter lets through and the caller may see.

    Args:
        stores: The stores.
        wanted: The filter.
        limit: How many at most.
    """
    expire_overdue(stores)
    seen = replace(wanted, sight=sight_of(current_caller().principal))
    with reading(stores.registry.engine) as session:
        found = requests.search(session, seen, limit + 1)
        carried_out = _carried_out(session, found[:limit])
        cases = tuple(_case(session, stores, one, carried_out) for one in found[:limit])
    return Page(cases, found[limit - 1].id if len(found) > limit else None)


def _carried_out(session: Session, found: Sequence[PromotionRequest]) -> Mapping[int, CarriedOut]:
    """Return the decisions that requests led to, all at once."""
    return history.carried_out(session, [one.id for one in found if one.state is State.PROMOTED])


def _case(session: Session, stores: Stores, found: PromotionRequest, carried_out: Mapping[int, CarriedOut]) -> Case:
    evidence = requests.evidence(session, found.id)
    if found.state in LIVE:
        holder = pointers.read(session, found.workspace, found.model).newest(found.target)
        return study(session, stores, found, evidence, holder, now(session), results=requests.gates(session, found.id))
    rules = policies.of_version(session, found.policy_version).policy.rules_for(found.model, found.target)
    verdict = Verdict(requests.gates(session, found.id), True, ())
    given = tuple(reviews.of_requests(session, [found.id]).get(found.id, ()))
    excluded = exclusions(session, found.requester, evidence)
    return Case(found, rules, evidence, None, given, excluded, verdict, carried_out=carried_out.get(found.id))


@dataclass(frozen=True)
class AuditPage:
    """Some audit entries, newest first, and where to go on."""

    entries: tuple[Mapping[str, Any], ...]
    next_before: int | None


def audited(stores: Stores, wanted: record.Filter, limit: int) -> AuditPage:
    """Return the audit entries that a filter lets through and the caller may see.

    Args:
        stores: The stores.
        wanted: The filter.
        limit: How many at most.

    Raises:
        Refused: if the caller may read nothing.
    """
    caller = current_caller()
    caller.require_somewhere(Permission.READ)
    with reading(stores.registry.engine) as session:
        found = record.entries(session, wanted, record.reader_of(caller.principal), limit + 1)
    return AuditPage(tuple(found[:limit]), found[limit - 1]["id"] if len(found) > limit else None)
