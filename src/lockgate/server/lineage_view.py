"""From versions and what they come from to the JSON shapes of `wire/lineage`."""

from lockgate.database.history import Tenure
from lockgate.database.requests import LiveRequest
from lockgate.server import view
from lockgate.wire.lineage import DatasetView, HoldingView, LiveRequestView, ReportView, StandingView
from lockgate.workflow.lineage import Standing
from lockgate.workflow.report import Report


def standing(one: Standing, base_url: str) -> StandingView:
    """Show a version, what it comes from and where it stands."""
    version = one.version
    return StandingView(
        model=version.place.model,
        version=str(version.place.version),
        stage=version.stage,
        aliases=list(one.aliases),
        created=version.created_at,
        run_id=version.run_id or None,
        source=version.source,
        description=version.description,
        tags=dict(one.tags),
        metrics=dict(one.run.metrics),
        params=dict(one.run.params),
        run_tags=dict(one.run.tags),
        datasets=[DatasetView(name=name, digest=digest) for name, digest in one.run.datasets],
        cut=list(one.cut),
        holds=[_holding(held) for held in one.holds],
        requests=[_live(request, base_url) for request in one.requests],
    )


def report(name: str, found: Report, next_page_token: str | None, base_url: str) -> ReportView:
    """Show the report of a model."""
    return ReportView(
        model=name,
        total_versions=sum(found.by_stage.values()),
        by_stage=dict(found.by_stage),
        holders=[view.tenure(held, base_url) for held in found.holders],
        versions=[standing(one, base_url) for one in found.page.versions],
        next_page_token=next_page_token,
    )


def _holding(held: Tenure) -> HoldingView:
    return HoldingView(
        target=str(held.target),
        since=held.since,
        how=held.how,
        by=held.by,
        decision_id=held.decision_id,
        request_id=held.request_id,
    )


def _live(request: LiveRequest, base_url: str) -> LiveRequestView:
    url = f"{base_url}/lockgate/requests/{request.id}"
    return LiveRequestView(id=request.id, target=str(request.target), state=request.state, url=url)
