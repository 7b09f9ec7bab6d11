"""Holds, one-off freezes, break-glass."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lockgate.wire.words import Body, Moment, Name, TargetText, Text, Time, VersionNumber


class HoldBody(Body):
    """Put a version on hold."""

    model: Name
    version: VersionNumber
    target: TargetText | None = None
    reason: Text


class HoldView(BaseModel):
    """A version that may not be promoted until somebody lifts it."""

    id: int
    model: str
    version: str
    target: str | None
    reason: str
    by: str
    at: Time


class HoldList(BaseModel):
    """The holds that nobody has lifted."""

    holds: list[HoldView]


class FreezeBody(Body):
    """Freeze promotions for a time."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    models: Name
    target: TargetText | None = None
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment
    reason: Text


class FreezeView(BaseModel):
    """A time in which nothing is promoted."""

    model_config = ConfigDict(populate_by_name=True)

    id: int
    models: str
    target: str | None
    from_: Annotated[Time, Field(serialization_alias="from")]
    to: Time
    reason: str
    by: str


class FreezeList(BaseModel):
    """The freezes that are coming or in force."""

    freezes: list[FreezeView]


class BreakGlassBody(Body):
    """Move a target past the gate."""

    model: Name
    version: VersionNumber
    target: TargetText
    reason: Text
    ticket: Annotated[str | None, Field(max_length=300)] = None


class BreakGlassReviewBody(Body):
    """Say whether breaking the glass was right."""

    verdict: Annotated[str, Field(pattern="^(approve|reject)$")]
    comment: Text | None = None


class BreakGlassView(BaseModel):
    """One time that the glass was broken."""

    id: int
    decision_id: int
    model: str
    version: str
    target: str
    by: str
    reason: str
    ticket: str
    unmet: list[str]
    at: Time
    review_by: Time
    reviewed_at: Time | None
    reviewer: str | None
    verdict: str | None
    comment: str


class BreakGlassList(BaseModel):
    """Times that the glass was broken, newest first."""

    break_glass: list[BreakGlassView]
