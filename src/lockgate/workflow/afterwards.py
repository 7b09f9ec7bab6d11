"""Looking once more at files that moved in the same call in which they were approved, or that nobody approved.

They were not sealed before the move, so an upload that began earlier may have ended between our look and the seal.
"""

from functools import partial

from lockgate.decisions.verdict import people_decide
from lockgate.events.event import EventType
from lockgate.evidence.manifest import Artifacts, Hashing
from lockgate.promotions.request import PromotionRequest, State
from lockgate.registry.one_call import once_committed
from lockgate.workflow.case import Case
from lockgate.workflow.files import look_at_files
from lockgate.workflow.stores import Stores


def look_again(stores: Stores, case: Case) -> Case:
    """Put on record, loudly, if what serves now has other files than were judged; return the case as it is.

    That is so once everybody sees the seal: when the move has been committed.
    """
    was_sealed = people_decide(case.rules) and not all(rule.moves_on_approval for rule in case.rules)
    moved = case.request.state is State.PROMOTED
    if moved and not was_sealed and case.evidence.artifacts.state is Hashing.HASHED:
        once_committed(partial(_compare, stores, case.request, case.evidence.artifacts))
    return case


def _compare(stores: Stores, request: PromotionRequest, judged: Artifacts) -> None:
    found = look_at_files(stores, request.model, request.version).artifacts
    if found.digest == judged.digest:
        return
    changes = found.changes_since(judged)
    with stores.registry.mutation(request.model) as begun:
        begun.by_lockgate().record(
            EventType.ARTIFACTS_CHANGED,
            version=request.version,
            target=str(request.target),
            request_id=request.id,
            after={"changes": changes},
            reason="the files changed while the target moved; roll back unless that was meant",
        )
