"""What came of a rollback or a break-glass."""

from dataclasses import dataclass
from datetime import datetime

from lockgate.decisions.verdict import DecisionKind
from lockgate.promotions.target import Target


@dataclass(frozen=True)
class Decided:
    """A decision that moved a target without a request, carried out."""

    id: int
    kind: DecisionKind
    model: str
    target: Target
    version: int
    previous_version: int | None
    by: str
    reason: str
    at: datetime
    #: The hold on the version that a rollback took out.
    hold_id: int | None = None
    #: Until when a second person must review a break-glass.
    review_by: datetime | None = None
    break_glass_id: int | None = None
    #: What was missing when the glass was broken.
    unmet: tuple[str, ...] = ()
