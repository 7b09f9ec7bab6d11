"""Rules in audit mode: they refuse nothing, and what they would have refused is put on record."""

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.database import policies
from lockgate.events.event import EventType
from lockgate.gates.policy import Rule
from lockgate.promotions.target import Target
from lockgate.registry.adoption import identify_version
from lockgate.registry.facts import gather
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.workflow.case import Case
from lockgate.workflow.files import look_at_files
from lockgate.workflow.matter import Matter, weigh
from lockgate.workflow.stores import Stores


def record_findings(stores: Stores, begun: Mutation, case: Case) -> None:
    """Put on record what rules in audit mode would refuse about a promotion that goes on."""
    request = case.request
    rules = policies.current(begun.session).policy.audited_rules_for(begun.name, request.target)
    if not rules:
        return
    matter = Matter(
        model=begun.model,
        version_id=request.version_id,
        target=request.target,
        rules=rules,
        evidence=case.evidence,
        progress=case.progress,
        holder=begun.pointers.newest(request.target),
        requester=request.requester,
        reviews=case.reviews,
    )
    _record(stores, begun, matter, request.version, request.id)


def observe(stores: Stores, name: str, version: int, target: Target) -> None:
    """Put on record what rules in audit mode would refuse about a move that no other rule is about."""
    if not current_caller().principal.may(Permission.WRITE, name) or not _audited(stores, name, target):
        return
    files = look_at_files(stores, name, version)
    with stores.registry.mutation(name) as begun:
        if begun.found is None or begun.pointers.of(target) == {version}:
            return
        known = identify_version(begun.session, begun.model, version)
        matter = Matter(
            model=begun.model,
            version_id=known.id,
            target=target,
            rules=policies.current(begun.session).policy.audited_rules_for(name, target),
            evidence=gather(begun.session, stores.tracking, begun.model, known, files),
            progress=files.progress,
            holder=begun.pointers.newest(target),
            requester=current_caller().principal.name,
        )
        _record(stores, begun, matter, version, None)


def _audited(stores: Stores, name: str, target: Target) -> tuple[Rule, ...]:
    with reading(stores.registry.engine) as session:
        return policies.current(session).policy.audited_rules_for(name, target)


def _record(stores: Stores, begun: Mutation, matter: Matter, version: int, request_id: int | None) -> None:
    verdict = weigh(begun.session, stores, matter, begun.now).verdict
    if verdict.unmet:
        begun.record(
            EventType.WOULD_REFUSE,
            version=version,
            target=str(matter.target),
            request_id=request_id,
            after={"rules": [rule.name for rule in matter.rules], "unmet": list(verdict.unmet)},
            reason=" ".join(verdict.unmet),
        )
