"""Reporting a check."""

import math
from collections.abc import Mapping

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.sight import must_see
from lockgate.database import checks, requests
from lockgate.database.checks import NewCheck
from lockgate.errors import BadInput, Conflict
from lockgate.events.event import EventType
from lockgate.evidence.manifest import Hashing
from lockgate.gates.judge import Check
from lockgate.promotions.request import valid_comment
from lockgate.registry.adoption import identify_version
from lockgate.registry.facts import Files, gather
from lockgate.registry.mutation import Mutation
from lockgate.workflow.case import assess
from lockgate.workflow.files import look_at_files
from lockgate.workflow.stores import Stores
from lockgate.workflow.submit import check_version

STATUSES = ("success", "failure", "pending")
_MAX_METRICS = 100


def report(
    stores: Stores,
    name: str,
    version: int,
    check: str,
    status: str,
    summary: str | None,
    url: str | None,
    metrics: Mapping[str, float],
    seen: str | None = None,
) -> Check:
    """Report what an outside system found about a version; the newest report under a name counts.

    Args:
        stores: The stores.
        name: The model.
        version: The version's number.
        check: The check's name, as gates name it.
        status: One of `STATUSES`.
        summary: What was found, for people.
        url: Where to read more.
        metrics: Numbers that expressions can use.
        seen: Digest of the evidence that was checked; without it, what the evidence is now.

    Raises:
        BadInput: if a value is not allowed.
        NotFound: if there is no such version.
        Refused: if the caller may not report checks.
        Conflict: if the evidence is not what was checked, or its files are still being hashed.
    """
    if status not in STATUSES:
        raise BadInput(f"A check's status is one of {', '.join(STATUSES)}; not {status[:100]!r}.")
    if len(metrics) > _MAX_METRICS or not all(math.isfinite(value) for value in metrics.values()):
        raise BadInput(f"A check may have {_MAX_METRICS} metrics, each a finite number.")
    if url and not url.startswith(("https://", "http://")):
        raise BadInput("A check's url starts with https:// or http://.")
    said = valid_comment(summary)
    must_see(current_caller(), name)
    current_caller().require(Permission.REPORT_CHECK, name)
    files = look_at_files(stores, name, version)
    with stores.registry.mutation(name) as begun:
        begun.caller.require(Permission.REPORT_CHECK, name)
        check_version(stores, begun, version)
        known = identify_version(begun.session, begun.model, version)
        digest = gather(begun.session, stores.tracking, begun.model, known, files).digest
        _check_same(version, files, digest, seen)
        reported = NewCheck(
            known.id, check, status, said, url or "", dict(metrics), digest, begun.caller.principal.id, begun.now
        )
        checks.add(begun.session, reported)
        begun.record(
            EventType.CHECK_REPORTED,
            version=version,
            after={
                "check": check,
                "status": status,
                "url": url or "",
                "metrics": dict(metrics),
                "evidence": digest,
            },
            reason=said,
        )
        _judge_anew(begun, stores, known.id, files)
        return checks.newest(begun.session, [known.id])[known.id][check]


def _judge_anew(begun: Mutation, stores: Stores, version_id: str, files: Files) -> None:
    """Judge the live requests of a version on what was reported: whoever waits for a gate that fails is told."""
    for request in requests.live(begun.session, begun.model.id):
        if request.version_id == version_id and not request.has_expired(begun.now):
            assess(begun.by_lockgate(), stores, request, files)


def _check_same(version: int, files: Files, digest: str, seen: str | None) -> None:
    """Refuse a result about other evidence than there is: it is bound to what was checked."""
    if files.artifacts.state is Hashing.PENDING:
        raise Conflict(
            f"The files of version {version} are still being hashed ({files.artifacts.reason}), and a check is about "
            "exactly these bytes. Report it when that is done.",
            retry=True,
        )
    if seen not in (None, digest):
        raise Conflict(
            f"The evidence about version {version} is not what was checked: its digest is {digest} now. Run the check "
            "again.",
            evidence_digest=digest,
        )
