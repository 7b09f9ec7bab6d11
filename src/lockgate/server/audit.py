"""The routes over the audit log: what is in it, and what proves it to somebody else."""

from typing import Annotated

from fastapi import Query
from fastapi.responses import PlainTextResponse

from lockgate.database.record import Filter
from lockgate.server import view
from lockgate.server.calls import Calling, House, PageSize, PageToken
from lockgate.server.once import OnceRouter
from lockgate.server.paging import Listing
from lockgate.wire.audit import AuditList, AuditVerification, Envelope, PublicKey
from lockgate.wire.words import RowId
from lockgate.workflow import audit_log, bundles, look

router = OnceRouter()
_LINES = "application/x-ndjson"
_After = Annotated[int, Query(ge=0, le=2**63 - 1)]


@router.get("/audit")
def audit(
    house: House,
    model: str | None = None,
    page_token: PageToken = None,
    max_results: PageSize = 50,
) -> AuditList:
    """List audit entries, newest first."""
    listing = Listing("audit", (model,))
    page = look.audited(house, Filter(model=model, before_id=listing.start(page_token)), max_results)
    return AuditList(
        entries=[view.audit_entry(row) for row in page.entries], next_page_token=listing.token(page.next_before)
    )


# Not `response_class`, which would have refusals be of that type too.
@router.get(
    "/audit/export", response_model=None, responses={200: {"content": {_LINES: {"schema": {"type": "string"}}}}}
)
def export_audit(
    house: House,
    caller: Calling,
    after: _After = 0,
    max_results: Annotated[int, Query(ge=1, le=audit_log.MAX_LINES)] = audit_log.MAX_LINES,
) -> PlainTextResponse:
    """Return the entries after one as the lines that were chained, oldest first; nothing at the end of the log."""
    lines = audit_log.export(house, caller, after, max_results)
    return PlainTextResponse("".join(f"{line}\n" for line in lines), media_type=_LINES)


@router.get("/audit/verify")
def verify_audit(
    house: House,
    caller: Calling,
    after: _After = 0,
    max_results: Annotated[int, Query(ge=1, le=audit_log.MAX_FOLLOWED)] = audit_log.MAX_FOLLOWED,
) -> AuditVerification:
    """Follow the hash chain in the database, and compare its end with the checkpoints that are kept elsewhere."""
    return view.verification(audit_log.verify(house, caller, after, max_results))


@router.get("/audit/checkpoint")
def audit_checkpoint(house: House, caller: Calling) -> Envelope:
    """Sign what the log comes to now."""
    return Envelope(**audit_log.signed_head(house, caller))


@router.get("/audit/key")
def audit_key(house: House, caller: Calling) -> PublicKey:
    """Show the public key that checkpoints and bundles are signed with."""
    signs = audit_log.signs_with(house, caller)
    return PublicKey(key_id=signs.key_id, public_key=signs.public_key)


@router.get("/decisions/{decision_id}/bundle")
def decision_bundle(decision_id: RowId, house: House, caller: Calling) -> Envelope:
    """Export a decision as one signed bundle."""
    return Envelope(**bundles.of_decision(house, caller, decision_id))


@router.get("/requests/{request_id}/bundle")
def request_bundle(request_id: RowId, house: House, caller: Calling) -> Envelope:
    """Export the decision by which a request was carried out as one signed bundle."""
    return Envelope(**bundles.of_request(house, caller, request_id))
