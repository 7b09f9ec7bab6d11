"""What serves: rollbacks, decisions, the history of targets."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lockgate.wire.words import Body, TargetText, Text, Time


class RollbackBody(Body):
    """Roll a target back."""

    target: TargetText
    reason: Text


class DecisionView(BaseModel):
    """A decision that moved a target."""

    id: int
    kind: str
    model: str
    target: str
    version: str | None
    previous_version: str | None
    by: str
    reason: str
    at: Time
    #: The hold on the version that a rollback took out.
    hold: int | None = None
    break_glass: int | None = None
    #: What was missing when the glass was broken.
    unmet: list[str] = []
    #: By when a second person must review a break-glass.
    review_by: Time | None = None


class TenureView(BaseModel):
    """A version's time in a target."""

    model_config = ConfigDict(populate_by_name=True)

    target: str
    version: str
    from_: Annotated[Time, Field(serialization_alias="from")]
    to: Time | None
    how: str
    by: str | None
    approved_by: list[str]
    #: Of the evidence that the decision was about; nothing if no decision brought it there.
    evidence_digest: str | None
    decision_id: int | None
    request_id: int | None
    request_url: str | None
    reason: str
    #: Whether it was a model of this name that was deleted since.
    model_deleted: bool


class HistoryView(BaseModel):
    """Who held a model's targets, oldest first."""

    model: str
    history: list[TenureView]


class HolderView(BaseModel):
    """The version that a target holds now."""

    model: str
    target: str
    version: str
    #: Where it was registered from, as MLflow has it.
    source: str
    run_id: str | None
    #: Whether a rule protects the target.
    protected: bool
    #: The kind of decision that brought it there; `direct`, `adopted` or `behind` if none did.
    how: str
    since: Time | None
    by: str | None
    approved_by: list[str]
    evidence_digest: str | None
    decision_id: int | None
    request_url: str | None
