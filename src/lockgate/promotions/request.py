"""The promotion request and its states."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lockgate.errors import BadInput, Conflict
from lockgate.promotions.target import Target

MAX_COMMENT = 10_000


class State(StrEnum):
    """Where a request stands."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    PROMOTED = "promoted"
    SUPERSEDED = "superseded"


#: The states in which a request can still become a promotion.
LIVE = frozenset({State.OPEN, State.APPROVED})

_ENDS = frozenset({State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.PROMOTED, State.SUPERSEDED})
#: Each state and those it may change to. What is not here is not allowed.
CHANGES: dict[State, frozenset[State]] = {
    State.OPEN: _ENDS | {State.APPROVED},
    State.APPROVED: _ENDS | {State.OPEN},
    **{state: frozenset[State]() for state in _ENDS},
}


@dataclass(frozen=True)
class PromotionRequest:
    """Somebody's wish that a target move to a version, on evidence frozen when it was last looked at."""

    id: int
    workspace: str
    model_id: str
    model: str
    version_id: str
    version: int
    target: Target
    state: State
    requester_id: int
    requester: str
    comment: str
    created_at: datetime
    expires_at: datetime
    policy_version: int
    evidence_digest: str
    #: Version number that held the target when the request was opened; None if nobody did.
    incumbent: int | None
    #: What ended the request, in a sentence.
    outcome: str = ""

    def check_change(self, new: State) -> None:
        """Refuse a change of state that the table does not allow.

        Raises:
            Conflict: saying what the request is already.
        """
        if new not in CHANGES[self.state] and self.state is State.SUPERSEDED:
            raise Conflict(f"{self.overtaken} If the promotion is still wanted, open a new request.")
        if new not in CHANGES[self.state]:
            because = f" ({self.outcome})" if self.outcome else ""
            lift = (
                f", after the rejection is lifted (`lockgate lift {self.id}`)" if self.state is State.REJECTED else ""
            )
            raise Conflict(
                f"Promotion request {self.id} is {self.state}{because}, and nothing changes that any more. If the "
                f"promotion is still wanted, open a new request{lift}."
            )

    @property
    def overtaken(self) -> str:
        """What became of a request that was superseded: a sentence."""
        return f"{self.outcome[:1].upper()}{self.outcome[1:]}, so promotion request {self.id} is superseded."

    def has_expired(self, now: datetime) -> bool:
        """Say whether a live request has run out of time."""
        return self.state in LIVE and now >= self.expires_at


def valid_comment(text: str | None, longest: int = MAX_COMMENT) -> str:
    """Return a comment, or refuse one that is too long or holds control characters.

    Raises:
        BadInput: with the limit.
    """
    comment = text or ""
    if len(comment) > longest:
        raise BadInput(f"A comment may have {longest} characters; this one has {len(comment)}.")
    if any(ord(c) < 32 and c not in "\n\r\t" for c in comment):
        raise BadInput("A comment may not hold control characters.")
    return comment
