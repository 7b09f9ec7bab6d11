"""Break-glass: moving a target past the gate in an emergency, loudly, and the review that must follow."""

from datetime import timedelta

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.selectors import join, matches_any
from lockgate.access.sight import must_see, sees, sight_of
from lockgate.audit.entry import AuditOutcome
from lockgate.database import break_glass, history, holds, policies, reviews
from lockgate.database.break_glass import Emergency, NewEmergency
from lockgate.database.history import NewDecision
from lockgate.decisions.verdict import DecisionKind, uncovered, why_not_break_glass
from lockgate.errors import BadInput, Conflict, NotFound, Refused, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.evidence.manifest import Hashing
from lockgate.evidence.record import Evidence
from lockgate.gates.policy import DEFAULT_REVIEW_TIME, Rule
from lockgate.promotions.request import valid_comment
from lockgate.promotions.target import Target
from lockgate.registry.adoption import identify_version
from lockgate.registry.facts import Files, gather
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.reviews.standing import Verdict, why_not
from lockgate.workflow.decided import Decided
from lockgate.workflow.files import look_at_files
from lockgate.workflow.matter import Matter, exclusions, weigh
from lockgate.workflow.sealed import seal
from lockgate.workflow.stores import Stores
from lockgate.workflow.submit import check_version

_MAX_TICKET = 300


def break_the_glass(
    stores: Stores, name: str, version: int, target: Target, reason: str | None, ticket: str | None
) -> Decided:
    """Move a protected target to a version although not everything is met.

    Args:
        stores: The stores.
        name: The model.
        version: The version's number.
        target: What moves.
        reason: Why; it is put on record.
        ticket: Where the emergency is tracked.

    Returns:
        The decision, with the time by which a second person must review it.

    Raises:
        BadInput: without a reason, or without a ticket where the policy wants one.
        NotFound: if there is no such model or version.
        Refused: if the caller may not.
        Conflict: if the version holds the target already, or no rule protects it.
    """
    why, where = valid_comment(reason).strip(), (ticket or "").strip()
    if not why:
        raise BadInput("Breaking the glass needs a reason, for those who review it: --reason '...'.")
    if len(where) > _MAX_TICKET:
        raise BadInput(f"A ticket may have {_MAX_TICKET} characters.")
    must_see(current_caller(), name)
    may = current_caller().principal.may(Permission.BREAK_GLASS, name)
    files = look_at_files(stores, name, version) if may else Files()
    with stores.registry.mutation(name) as begun:
        check_version(stores, begun, version)
        rules = policies.current(begun.session).policy.rules_for(name, target)
        _check_may(begun, rules, version, target)
        _check_needed(begun, version, target)
        if not where and any(rule.break_glass and rule.break_glass.ticket == "required" for rule in rules):
            raise BadInput("The policy wants a ticket with it: --ticket ID.")
        return _carry_out(stores, begun, version, target, rules, files, why, where)


def _check_may(begun: Mutation, rules: tuple[Rule, ...], version: int, target: Target) -> None:
    reason = why_not_break_glass(begun.caller.principal, rules, begun.name)
    if reason is None:
        return
    begun.record(
        EventType.BREAK_GLASS, outcome=AuditOutcome.REFUSED, version=version, target=str(target), reason=reason
    )
    raise RefusedOnRecord(reason)


def _check_needed(begun: Mutation, version: int, target: Target) -> None:
    policy = policies.current(begun.session).policy
    if not policy.protects(target):
        raise Conflict(f"No rule protects {target}, so there is no glass to break: move it directly.")
    closed = uncovered(policy, begun.name, target)
    if closed is not None:
        raise Refused(closed)
    if begun.pointers.of(target) == {version}:
        raise Conflict(f"Version {version} of '{begun.name}' holds {target} already.")


def _carry_out(
    stores: Stores,
    begun: Mutation,
    version: int,
    target: Target,
    rules: tuple[Rule, ...],
    files: Files,
    reason: str,
    ticket: str,
) -> Decided:
    known = identify_version(begun.session, begun.model, version)
    evidence = gather(begun.session, stores.tracking, begun.model, known, files)
    unmet = _unmet(stores, begun, target, rules, evidence, known.id, files)
    before = begun.pointers.newest(target)
    decision = history.add_decision(
        begun.session,
        NewDecision(
            kind=DecisionKind.BREAK_GLASS,
            model_id=begun.model.id,
            target=target,
            version_id=known.id,
            previous_version_id=begun.version(before).id if before is not None else None,
            request_id=None,
            policy_version=policies.current(begun.session).version,
            evidence_digest=evidence.digest,
            by_id=begun.caller.principal.id,
            reason=reason,
            at=begun.now,
        ),
    )
    review_by = begun.now + _review_time(rules)
    number = break_glass.add(
        begun.session,
        NewEmergency(
            decision_id=decision,
            model_id=begun.model.id,
            version_id=known.id,
            target=target,
            by_id=begun.caller.principal.id,
            reason=reason,
            ticket=ticket,
            unmet=unmet,
            evidence=evidence,
            at=begun.now,
            review_by=review_by,
        ),
    )
    moved = stores.registry.move(begun, target, version, decision, evidence.digest)
    seal(begun, stores, version, known.id)
    begun.record(
        EventType.BREAK_GLASS,
        version=version,
        target=str(target),
        decision_id=decision,
        before={"version": before, **moved.before},
        after={
            "version": version,
            **moved.after,
            "break_glass": number,
            "ticket": ticket,
            "unmet": list(unmet),
            "evidence": evidence.digest,
            "review_by": review_by.isoformat(),
        },
        reason=reason,
    )
    return Decided(
        id=decision,
        kind=DecisionKind.BREAK_GLASS,
        model=begun.name,
        target=target,
        version=version,
        previous_version=before,
        by=begun.caller.principal.name,
        reason=reason,
        at=begun.now,
        review_by=review_by,
        break_glass_id=number,
        unmet=unmet,
    )


def _unmet(
    stores: Stores,
    begun: Mutation,
    target: Target,
    rules: tuple[Rule, ...],
    evidence: Evidence,
    candidate_id: str,
    files: Files,
) -> tuple[str, ...]:
    """Return what was missing when the glass was broken, for those who review it."""
    matter = Matter(
        model=begun.model,
        version_id=candidate_id,
        target=target,
        rules=rules,
        evidence=evidence,
        progress=files.progress,
        holder=begun.pointers.newest(target),
        requester=begun.caller.principal.name,
    )
    rejected = (
        f"{rejection.by} rejected version {evidence.number} for {target} (request {rejection.request_id})."
        for rejection in reviews.rejections(begun.session, candidate_id, target)
    )
    return (*rejected, *weigh(begun.session, stores, matter, begun.now).verdict.unmet)


def _review_time(rules: tuple[Rule, ...]) -> timedelta:
    return min((rule.break_glass.review_within for rule in rules if rule.break_glass), default=DEFAULT_REVIEW_TIME)


def review(stores: Stores, emergency_id: int, verdict: Verdict, comment: str | None) -> Emergency:
    """Say, as a second person, whether breaking the glass was right.

    Approved, the version counts as if it had been promoted. Rejected, it keeps serving until somebody moves the
    target, but it is on hold, and no rollback goes back to it.

    Raises:
        NotFound: if there is no such break-glass.
        Refused: if the caller is who did it, is no person, or may not review.
        Conflict: if it was reviewed already.
    """
    said = valid_comment(comment)
    with reading(stores.registry.engine) as session:
        found = break_glass.find(session, stores.registry.workspace, emergency_id)
    if found is None or not sees(current_caller(), found.model):
        raise NotFound(f"There is no break-glass {emergency_id}.")
    files = look_at_files(stores, found.model, found.version)
    with stores.registry.mutation(found.model) as begun:
        now = break_glass.find(begun.session, begun.workspace, emergency_id)
        if now is None or now.verdict is not None:
            raise Conflict(f"Break-glass {emergency_id} was reviewed already.")
        _check_may_review(begun, now)
        if verdict is Verdict.APPROVE:
            _complete(stores, begun, now, files)
        evidence = break_glass.evidence(begun.session, emergency_id)
        caller = begun.caller.principal
        break_glass.review(begun.session, emergency_id, caller.id, verdict, said, begun.now)
        if verdict is Verdict.REJECT:
            reason = f"{caller.name} rejected the break-glass for {now.target}" + (f": {said}" if said else "")
            hold = holds.add(
                begun.session, begun.model.id, now.version_id, None, reason, caller.id, begun.now, now.decision_id
            )
            begun.record(EventType.HELD, version=now.version, after={"hold": hold}, reason=reason)
        begun.record(
            EventType.BREAK_GLASS_REVIEWED,
            version=now.version,
            target=str(now.target),
            decision_id=now.decision_id,
            after={"break_glass": emergency_id, "verdict": verdict, "evidence": evidence.digest},
            reason=said,
        )
        reviewed = break_glass.find(begun.session, begun.workspace, emergency_id)
        assert reviewed is not None
        return reviewed


def _complete(stores: Stores, begun: Mutation, emergency: Emergency, files: Files) -> None:
    """Fill in what the files are, if they were still being hashed when the glass was broken.

    Raises:
        Conflict: if they still are: an approval is about exactly these bytes.
    """
    if break_glass.evidence(begun.session, emergency.id).artifacts.state is not Hashing.PENDING:
        return
    if files.progress:
        raise Conflict(f"The files are still being hashed ({files.progress}). Approve when that is done.", retry=True)
    version = begun.version(emergency.version)
    evidence = gather(begun.session, stores.tracking, begun.model, version, files)
    break_glass.set_evidence(begun.session, emergency.id, evidence)


def _check_may_review(begun: Mutation, emergency: Emergency) -> None:
    caller = begun.caller.principal
    if caller.id == emergency.by_id:
        raise Refused(f"{caller.name} broke the glass; a second person reviews it.")
    evidence = break_glass.evidence(begun.session, emergency.id)
    reason = why_not(caller, begun.name, exclusions(begun.session, emergency.by, evidence))
    if reason is not None:
        raise Refused(f"{reason}. A second person with the role reviewer, who did not shape the version, reviews it.")
    rules = policies.current(begun.session).policy.rules_for(begun.name, emergency.target)
    asked = [demand for rule in rules for demand in rule.approvals if demand.required and demand.from_]
    if asked and not any(matches_any(demand.from_, caller, begun.name) for demand in asked):
        whose = " or ".join(dict.fromkeys(join(demand.from_) for demand in asked))
        raise Refused(f"{caller.name} may not review this: the policy asks {whose} about {emergency.target}.")


def search(stores: Stores, limit: int, unreviewed: bool) -> list[Emergency]:
    """Return the times that the glass was broken for models that the caller may see, newest first."""
    with reading(stores.registry.engine) as session:
        sight = sight_of(current_caller().principal)
        return break_glass.search(session, stores.registry.workspace, limit, unreviewed, sight)
