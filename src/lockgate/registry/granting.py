"""Telling the database's guard what is about to move, and by whose decision."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from lockgate.database import grants
from lockgate.database.grants import Grant
from lockgate.promotions.target import Target
from lockgate.registry.mutation import Mutation
from lockgate.registry.pointers import Change


@contextmanager
def granted(
    mutation: Mutation, changes: Sequence[Change], decisions: Mapping[Target, int], evidence_digest: str = ""
) -> Iterator[None]:
    """Let the block make these changes, and no other to what is protected.

    Args:
        mutation: The mutation that makes them.
        changes: What the block will change.
        decisions: The decision that allows each closed target's change.
        evidence_digest: The digest of the evidence that the decision is about; nothing if it is about none.
    """
    wanted = [grant for change in changes for grant in _grants(mutation, change, decisions, evidence_digest)]
    if not wanted:
        yield
        return
    grants.give(mutation.session, wanted, mutation.caller.principal.id or None, mutation.now)
    try:
        yield
        mutation.session.flush()
    finally:
        grants.take_back(mutation.session)


def _grants(
    mutation: Mutation, change: Change, decisions: Mapping[Target, int], evidence_digest: str
) -> Iterator[Grant]:
    decision = decisions.get(change.target)
    for kind, numbers in (("loss", change.lost), ("gain", change.gained)):
        for number in sorted(numbers):
            version = mutation.version(number)
            digest = evidence_digest if kind == "gain" else ""
            yield Grant(kind, mutation.model.id, version.id, change.target, decision, digest)
