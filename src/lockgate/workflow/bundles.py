"""Exporting a decision, with all that it rests on, as one signed bundle.

Who decided, asked and reviewed, when and with what words, is what the log holds, not what other tables say: whoever
writes to those could have it signed. What the log has only the digest of is compared with that.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.access.sight import sees
from lockgate.audit import bundle
from lockgate.audit.entry import AuditOutcome
from lockgate.database import chain, policies, requests
from lockgate.database.chain import Stored
from lockgate.database.tables import audit, break_glass, decisions, models
from lockgate.database.tables import requests as request_rows
from lockgate.decisions.verdict import DecisionKind
from lockgate.errors import Conflict, NotFound
from lockgate.events.event import EventType
from lockgate.evidence.record import Evidence
from lockgate.registry.transaction import reading
from lockgate.reviews.standing import Verdict
from lockgate.workflow.case import request_named
from lockgate.workflow.checkpoints import Schedule
from lockgate.workflow.signing import signer
from lockgate.workflow.stores import Stores
from lockgate.workflow.testimony import check_uncontradicted

_DECISION = select(decisions, models.c.workspace, models.c.name.label("model")).join(
    models, decisions.c.model_id == models.c.id
)
#: The action of the entry that tells of a decision.
_ACTIONS = {
    DecisionKind.PROMOTION: EventType.PROMOTED,
    DecisionKind.ROLLBACK: EventType.ROLLED_BACK,
    DecisionKind.BREAK_GLASS: EventType.BREAK_GLASS,
    DecisionKind.CLEARING: EventType.CLEARED,
}

Told = Mapping[str, Any]


def of_decision(stores: Stores, caller: Caller, decision_id: int) -> dict[str, Any]:
    """Return the signed bundle of a decision; the lines of the log, which have addresses, only for who governs.

    Raises:
        NotFound: if there is no such decision that the caller may see.
        Conflict: if this server has nothing to sign with, what the decision rests on isn't what was put on record, or a
            witness contradicts the log.
    """
    signs = signer(stores.registry.engine)
    with reading(stores.registry.engine) as session:
        decided = session.execute(_DECISION.where(decisions.c.id == decision_id)).first()
        if decided is None or decided.workspace != stores.registry.workspace or not sees(caller, decided.model):
            raise NotFound(f"There is no decision {decision_id}. `lockgate history MODEL` names decisions.")
        stated = _statement(session, decided, shows_lines=caller.principal.may(Permission.GOVERN))
    check_uncontradicted(stores.registry.engine, Schedule.read().uris, signs)
    return bundle.sign(stated, signs)


def of_request(stores: Stores, caller: Caller, request_id: int) -> dict[str, Any]:
    """Return the signed bundle of the decision by which a request was carried out.

    Raises:
        NotFound: if there is no such request that the caller may see, or it was not carried out.
        Conflict: if this server has nothing to sign with, or what the decision rests on isn't what was put on record.
    """
    request_named(stores, request_id)
    with reading(stores.registry.engine) as session:
        decision_id = session.execute(select(decisions.c.id).where(decisions.c.request_id == request_id)).scalar()
    if decision_id is None:
        raise NotFound(f"Request {request_id} has led to no decision. `lockgate show {request_id}` says how it stands.")
    return of_decision(stores, caller, decision_id)


@dataclass(frozen=True)
class _Grounds:
    """A decision as the log tells of it."""

    id: int
    kind: DecisionKind
    entries: tuple[Stored, ...]
    told: tuple[Told, ...]
    #: The entry of the decision itself, and of the request that it carried out.
    done: Told
    opened: Told | None
    #: What was decided on, and its digest; none if nobody looked at any.
    evidence: Mapping[str, Any] | None
    digest: str


def _statement(session: Session, decided: Any, shows_lines: bool) -> dict[str, Any]:
    found = _grounds(session, decided)
    earlier = _returns_to(session, found) if found.kind is DecisionKind.ROLLBACK else None
    done, opened, entries = found.done, found.opened, found.entries
    rests_on = earlier or found
    if earlier is not None:
        entries = tuple(sorted({*entries, *earlier.entries}, key=lambda one: one.number))
    version = None if decided.version_id is None else done["version"]
    policy_version = opened["after"]["policy"] if opened is not None else decided.policy_version
    predicate: dict[str, Any] = {
        "decision": {
            "id": found.id,
            "kind": found.kind,
            "at": done["at"],
            "by": done["actor"],
            "reason": done["reason"],
            "model": done["model"],
            "model_id": done["model_id"],
            "version": version,
            "target": done["target"],
            "workspace": done["workspace"],
        },
        "policy": {"version": policy_version, "source": _policy(session, policy_version)},
        "evidence": rests_on.evidence,
        "request": _request(session, opened, _before(found.told, done)) if opened is not None else None,
        "rests_on": _earlier(earlier, done) if earlier is not None else None,
        "log": {"id": chain.head(session).log_id, "entries": [_shown(one, shows_lines) for one in entries]},
    }
    files = Evidence.from_json(rests_on.evidence).artifacts.digest if rests_on.evidence is not None else ""
    return bundle.statement(done["model"], version, files, rests_on.digest, predicate)


def _grounds(session: Session, decided: Any) -> _Grounds:
    """Gather what the log has about a decision."""
    kind, entries = DecisionKind(decided.kind), tuple(_entries(session, decided))
    told = tuple(json.loads(one.line) for one in entries)
    [done] = _expected(told, _ACTIONS[kind], decided.id)
    before = _before(told, done)
    opened = _expected(before, EventType.REQUEST_OPENED, None)[0] if decided.request_id is not None else None
    digest = _digest(told, done)
    evidence = _evidence(session, decided, digest) if digest else None
    return _Grounds(decided.id, kind, entries, told, done, opened, evidence, digest)


def _returns_to(session: Session, rollback: _Grounds) -> _Grounds | None:
    """Return the decision by which people last let the version of a rollback serve there; none if nobody ever did."""
    done = rollback.done
    same = [getattr(audit.c, name) == done[name] for name in ("model_id", "version", "target")]
    by_people = audit.c.action.in_((EventType.PROMOTED, EventType.BREAK_GLASS_REVIEWED))
    found = _intact(chain.entries(session, *same, by_people, audit.c.id < done["number"]))
    approved = [
        one["decision_id"]
        for one in (json.loads(entry.line) for entry in found)
        if one["outcome"] == AuditOutcome.DONE and one["after"].get("verdict", Verdict.APPROVE) == Verdict.APPROVE
    ]
    if not approved:
        return None
    decided = session.execute(_DECISION.where(decisions.c.id == max(approved))).first()
    if decided is None:
        raise Conflict(
            f"Decision {max(approved)}, which this rollback returns to, is not there any more, though the log tells of "
            "it. Nothing is signed about this decision."
        )
    return _grounds(session, decided)


def _earlier(earlier: _Grounds, rollback: Told) -> Told:
    """Show the decision that a rollback rests on, with the reviews that there were when it fell."""
    return {
        "decision": earlier.id,
        "kind": earlier.kind,
        "at": earlier.done["at"],
        "by": earlier.done["actor"],
        "evidence_digest": earlier.digest,
        "request": earlier.opened["request_id"] if earlier.opened is not None else None,
        "reviews": _reviews(_before(earlier.told, rollback)),
    }


def _before(told: Sequence[Told], one: Told) -> list[Told]:
    return [other for other in told if other["number"] < one["number"]]


def _expected(told: Sequence[Told], action: EventType, decision_id: int | None) -> list[Told]:
    """Return the entry of an action that there has to be, once."""
    found = [
        one
        for one in told
        if one["action"] == action and one["outcome"] == AuditOutcome.DONE and one["decision_id"] == decision_id
    ]
    if len(found) != 1:
        raise Conflict(
            f"The log has {len(found)} entries `{action}` about this decision, so nothing is signed about it."
        )
    return found


def _digest(told: Sequence[Told], done: Told) -> str:
    """Return the digest of the evidence that was decided on, as the log has it last; empty if there was none."""
    frozen = (EventType.REQUEST_OPENED, EventType.EVIDENCE_CHANGED)
    named = [one["after"]["evidence"] for one in _before(told, done) if one["action"] in frozen]
    named.append(done["after"].get("evidence"))
    # By then the files are hashed, which they may not have been when the glass was broken.
    named += [one["after"].get("evidence") for one in told if one["action"] == EventType.BREAK_GLASS_REVIEWED]
    return str(next((digest for digest in reversed(named) if digest), ""))


def _evidence(session: Session, decided: Any, digest: str) -> dict[str, Any]:
    """Return the evidence that the decision rests on, which is kept as the text that its digest is of."""
    of_request = select(request_rows.c.evidence).where(request_rows.c.id == decided.request_id)
    of_emergency = select(break_glass.c.evidence).where(break_glass.c.decision_id == decided.id)
    for statement in (of_request, of_emergency):
        stored = session.execute(statement).scalar()
        if stored is not None and f"sha256:{hashlib.sha256(stored.encode()).hexdigest()}" == digest:
            return dict(json.loads(stored))
    raise Conflict(
        "The evidence of this decision is not what was decided on: its digest is another one than the log has. "
        "Somebody has changed it in the database, so nothing is signed about this decision."
    )


def _request(session: Session, opened: Told, before: Sequence[Told]) -> Told:
    return {
        "id": opened["request_id"],
        "requester": opened["actor"],
        "at": opened["at"],
        "comment": opened["reason"],
        "gates": [asdict(gate) for gate in requests.gates(session, opened["request_id"])],
        "reviews": _reviews(before),
    }


def _reviews(told: Sequence[Told]) -> list[Told]:
    said = (EventType.REQUEST_REVIEWED, EventType.REQUEST_COMMENTED, EventType.BREAK_GLASS_REVIEWED)
    return [
        {
            "reviewer": one["actor"],
            "verdict": one["after"]["verdict"],
            "comment": one["reason"],
            "at": one["at"],
            "evidence_digest": one["after"].get("evidence"),
        }
        for one in told
        if one["action"] in said and one["outcome"] == AuditOutcome.DONE
    ]


def _entries(session: Session, decided: Any) -> list[Stored]:
    """Return the entries of the log about the decision and its request."""
    about = [audit.c.decision_id == decided.id]
    if decided.request_id is not None:
        about.append(audit.c.request_id == decided.request_id)
    of_model = audit.c.model_id == decided.model_id
    return _intact(chain.entries(session, of_model, or_(*about)))


def _policy(session: Session, version: int) -> str | None:
    """Return the text of a policy, as the entry has it by which it was applied."""
    for one in chain.entries(session, audit.c.action == EventType.POLICY_APPLIED):
        after = json.loads(one.line)["after"]
        if after.get("policy") == version:
            _intact([one])
            return str(after["source"])
    found = policies.find(session, version)  # the one that there is before any is applied
    return found.source if found is not None else None


def _intact(entries: list[Stored]) -> list[Stored]:
    broken = next((one for one in entries if not one.is_intact), None)
    if broken is not None:
        raise Conflict(
            f"Entry {broken.number:,} of the audit log is not what was chained, so nothing is signed about this "
            "decision. `lockgate audit verify` says more."
        )
    return entries


def _shown(entry: Stored, with_line: bool) -> Told:
    shown = {"number": entry.number, "hash": entry.hash}
    return {**shown, "line": entry.line} if with_line else shown
