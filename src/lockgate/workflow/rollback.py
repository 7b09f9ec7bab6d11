"""Rolling back: a target returns to the version that really served it before, and what served last is put on hold."""

from collections.abc import Collection, Iterable

from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.access.sight import must_see
from lockgate.audit.entry import AuditOutcome
from lockgate.database import break_glass, history, holds, identities, policies
from lockgate.database.history import NewDecision, Tenure
from lockgate.decisions.verdict import DecisionKind, frozen_for_rollback, why_not_roll_back
from lockgate.errors import BadInput, Conflict, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.evidence.manifest import Hashing
from lockgate.evidence.record import Evidence
from lockgate.gates.policy import Rule
from lockgate.promotions.request import valid_comment
from lockgate.promotions.target import Target
from lockgate.registry import pointers
from lockgate.registry.facts import Files, check_location
from lockgate.registry.mutation import Mutation
from lockgate.registry.transaction import reading
from lockgate.registry.versions import KnownVersion, read_version
from lockgate.reviews.standing import Verdict
from lockgate.workflow.decided import Decided
from lockgate.workflow.files import look_at_files
from lockgate.workflow.matter import approved_evidence, one_off_freezes
from lockgate.workflow.stores import Stores


def line_back(tenures: Iterable[Tenure], holder: int | None, unfit: Collection[int]) -> Tenure | None:
    """Return the time in office to go back to.

    What served before what serves now, with rollbacks counted as going back: after 1, 2 and back to 1, there
    is nothing before 1; 2 was what the rollback left. Deleted versions are passed over.

    Args:
        tenures: Who held the target, oldest first.
        holder: The version that holds it now; None if nobody does.
        unfit: Positions of tenures that can't be gone back to: on hold, or past the gate without a review.
    """
    line: list[tuple[int, Tenure]] = []
    for position, tenure in enumerate(tenures):
        earlier = next((at for at, (_, known) in enumerate(line) if known.version_id == tenure.version_id), None)
        if tenure.how == DecisionKind.ROLLBACK and earlier is not None:
            del line[earlier:]
        line.append((position, tenure))
    if holder is not None and line and line[-1][1].version == holder:
        line.pop()
    fit = [t for position, t in line if t.version != holder and not t.version_deleted and position not in unfit]
    return fit[-1] if fit else None


def served_before(session: Session, model_id: str, target: Target, holder: int | None) -> Tenure | None:
    """Return the time in office that a rollback goes back to: the last one whose approval still stands."""
    tenures = history.tenures(session, model_id, target)
    held = holds.held_versions(session, model_id, target)
    unreviewed = {
        emergency.decision_id
        for emergency in break_glass.of_model(session, model_id)
        if emergency.verdict != Verdict.APPROVE
    }
    unfit = {
        position
        for position, tenure in enumerate(tenures)
        if tenure.version_id in held or tenure.decision_id in unreviewed
    }
    return line_back(tenures, holder, unfit)


def roll_back(stores: Stores, name: str, target: Target, reason: str | None) -> Decided:
    """Return a target to the version that served before.

    Args:
        stores: The stores.
        name: The model.
        target: What rolls back.
        reason: Why; it is put on record.

    Returns:
        The decision.

    Raises:
        BadInput: without a reason.
        Refused: if the caller may not, or that version, or its files, are not what was approved.
        Conflict: if nothing served before.
    """
    why = valid_comment(reason).strip()
    if not why:
        raise BadInput("A rollback needs a reason, for those who read the history: --reason '...'.")
    must_see(current_caller(), name)
    expected = _expected(stores, name, target)
    files = look_at_files(stores, name, expected) if expected is not None else Files()
    with stores.registry.mutation(name) as begun:
        _ = begun.model
        check_may_roll_back(begun, target)
        back_to = served_before(begun.session, begun.model.id, target, begun.pointers.newest(target))
        if back_to is None:
            raise Conflict(
                f"Nothing served {target} of '{name}' before what serves it now whose approval still stands, so there "
                f"is nothing to go back to. `lockgate history {name}` shows who served, `lockgate holds` what is on "
                "hold."
            )
        if back_to.version != expected:
            raise Conflict("Somebody else changed this model at the same moment. Look again.")
        return carry_out_rollback(stores, begun, target, back_to, why, files)


def _expected(stores: Stores, name: str, target: Target) -> int | None:
    """Return the version that a rollback would go back to, so that its files can be looked at beforehand."""
    with reading(stores.registry.engine) as session:
        known = identities.model(session, stores.registry.workspace, name)
        if known is None:
            return None
        holder = pointers.read(session, stores.registry.workspace, name).newest(target)
        back_to = served_before(session, known.id, target, holder)
        return back_to.version if back_to else None


def check_may_roll_back(begun: Mutation, target: Target) -> None:
    """Refuse a caller who may not roll this target back, or not now.

    Raises:
        Refused: with who may, or until when it is frozen.
    """
    rules = policies.current(begun.session).policy.rules_for(begun.name, target)
    reason = why_not_roll_back(begun.caller.principal, rules, begun.name)
    if reason is not None:
        _refuse(begun, target, reason)
    frozen = _frozen(begun, rules, target)
    if frozen:
        _refuse(begun, target, " ".join(frozen))


def _frozen(begun: Mutation, rules: tuple[Rule, ...], target: Target) -> list[str]:
    if not any(rule.rollback and rule.rollback.respects_freeze for rule in rules):
        return []
    one_off = one_off_freezes(begun.session, begun.model, target, begun.now)
    return [*frozen_for_rollback(rules, begun.now), *one_off]


def _refuse(begun: Mutation, target: Target, reason: str) -> None:
    begun.record(EventType.ROLLED_BACK, outcome=AuditOutcome.REFUSED, target=str(target), reason=reason)
    raise RefusedOnRecord(reason)


def carry_out_rollback(
    stores: Stores, begun: Mutation, target: Target, back_to: Tenure, reason: str, files: Files
) -> Decided:
    """Move a target back, and put what it leaves on hold; return the decision.

    Raises:
        Refused: if the version to go back to, or its files, are not what was approved.
        NotFound: if it is gone.
    """
    _check_content(begun, target, back_to, files)
    before = begun.pointers.newest(target)
    previous = begun.version(before).id if before is not None else None
    decision = history.add_decision(
        begun.session,
        NewDecision(
            kind=DecisionKind.ROLLBACK,
            model_id=begun.model.id,
            target=target,
            version_id=back_to.version_id,
            previous_version_id=previous,
            request_id=None,
            policy_version=policies.current(begun.session).version,
            evidence_digest="",
            by_id=begun.caller.principal.id,
            reason=reason,
            at=begun.now,
        ),
    )
    moved = stores.registry.move(begun, target, back_to.version, decision, evidence_digest="")
    hold = None
    if previous is not None and before is not None and not _is_held(begun, previous, target):
        hold = _hold(begun, previous, before, target, f"rolled back from {target}: {reason}", decision)
    begun.record(
        EventType.ROLLED_BACK,
        version=back_to.version,
        target=str(target),
        decision_id=decision,
        before={"version": before, **moved.before},
        after={"version": back_to.version, "hold": hold, **moved.after},
        reason=reason,
    )
    return Decided(
        id=decision,
        kind=DecisionKind.ROLLBACK,
        model=begun.name,
        target=target,
        version=back_to.version,
        previous_version=before,
        by=begun.caller.principal.name,
        reason=reason,
        at=begun.now,
        hold_id=hold,
    )


def _check_content(begun: Mutation, target: Target, back_to: Tenure, files: Files) -> None:
    approved = approved_evidence(begun.session, back_to.version_id, target)
    if approved is None:
        return
    known = read_version(begun.session, begun.workspace, begun.name, back_to.version)
    check_location(files, known)
    changes = _changes_since(approved, known, files)
    if changes:
        _refuse(
            begun,
            target,
            f"Version {back_to.version} is not what was approved ({'; '.join(changes)}), so going back to it would "
            f"serve something else. Put it back as it was, promote another version, or break the glass "
            f"(`lockgate break-glass {begun.name} VERSION {target} --reason ...`).",
        )


def _changes_since(approved: Evidence, known: KnownVersion, files: Files) -> list[str]:
    """Return what is not as it was approved, a phrase each."""
    named = [
        f"its {what} was '{was}' and is '{now}'"
        for what, was, now in (("source", approved.source, known.source), ("run", approved.run_id, known.run_id))
        if was != now
    ]
    found = files.artifacts
    if approved.artifacts.state is not Hashing.HASHED or found.digest == approved.artifacts.digest:
        return named
    if found.state is not Hashing.HASHED:
        return [*named, f"its files: {found.reason}"]
    return [*named, *found.changes_since(approved.artifacts)[:5]]


def _is_held(begun: Mutation, held_id: str, target: Target) -> bool:
    return any(hold.binds(target) for hold in holds.on_version(begun.session, held_id))


def _hold(begun: Mutation, held_id: str, held: int, target: Target, reason: str, decision: int) -> int:
    caller = begun.caller.principal
    number = holds.add(begun.session, begun.model.id, held_id, target, reason, caller.id, begun.now, decision)
    begun.record(
        EventType.HELD,
        version=held,
        target=str(target),
        after={"hold": number},
        decision_id=decision,
        reason=reason,
    )
    return number
