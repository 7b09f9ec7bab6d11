"""Versions with what they come from and where they stand; the report of a model."""

from pydantic import BaseModel

from lockgate.wire.models import TenureView
from lockgate.wire.words import Time


class DatasetView(BaseModel):
    """Data that a run read."""

    name: str
    digest: str


class HoldingView(BaseModel):
    """A target that a version holds now."""

    target: str
    since: Time
    #: As in the history: the kind of decision, or `direct`, `adopted` or `behind`.
    how: str
    by: str | None
    decision_id: int | None
    request_id: int | None


class LiveRequestView(BaseModel):
    """A promotion request that is not over."""

    id: int
    target: str
    state: str
    url: str


class StandingView(BaseModel):
    """A version, what it comes from and where it stands."""

    model: str
    version: str
    stage: str
    aliases: list[str]
    created: Time
    run_id: str | None
    source: str
    description: str
    #: Of the version itself, as far as they were asked for, like all that follows.
    tags: dict[str, str]
    #: Of its run, the last value of each; null is not a number.
    metrics: dict[str, float | None]
    params: dict[str, str]
    run_tags: dict[str, str]
    datasets: list[DatasetView]
    #: Of which of these there is more than is told of one version.
    cut: list[str]
    holds: list[HoldingView]
    requests: list[LiveRequestView]


class LineageList(BaseModel):
    """Versions, by models' names and numbers."""

    versions: list[StandingView]
    next_page_token: str | None = None


class ReportView(BaseModel):
    """What there is of a model."""

    model: str
    total_versions: int
    by_stage: dict[str, int]
    #: Who holds its targets now, as in the history.
    holders: list[TenureView]
    #: Oldest first.
    versions: list[StandingView]
    next_page_token: str | None = None
