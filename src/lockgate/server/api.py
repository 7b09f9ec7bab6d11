"""Our API, under `/api/lockgate/v1`. Each route turns words into values, calls the workflow, shows what came of it."""

from datetime import datetime

from fastapi import Depends, FastAPI, Response

from lockgate import __version__
from lockgate.database import requests as request_rows
from lockgate.database.policies import StoredPolicy
from lockgate.database.policy_changes import ChangeState
from lockgate.errors import BadInput
from lockgate.promotions.request import State
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Verdict
from lockgate.server import audit, doctor, failures, lineage, openapi, people, view, webhooks
from lockgate.server.calls import Calling, Comment, House, PageSize, PageToken, in_workspace, said
from lockgate.server.once import OnceRoute
from lockgate.server.paging import Listing
from lockgate.wire.errors import ErrorView
from lockgate.wire.models import DecisionView, HistoryView, HolderView, RollbackBody
from lockgate.wire.policies import (
    PolicyBody,
    PolicyChangeList,
    PolicyChangeView,
    PolicyVersionList,
    PolicyView,
    SimulateBody,
    SimulationView,
)
from lockgate.wire.requests import (
    ApproveBody,
    AskAgainBody,
    AskBody,
    CheckBody,
    CheckView,
    CommentBody,
    RequestList,
    RequestView,
)
from lockgate.wire.safety import (
    BreakGlassBody,
    BreakGlassList,
    BreakGlassReviewBody,
    BreakGlassView,
    FreezeBody,
    FreezeList,
    FreezeView,
    HoldBody,
    HoldList,
    HoldView,
)
from lockgate.wire.words import PolicyVersion, RowId
from lockgate.workflow import (
    break_glass,
    checks,
    freezes,
    holding,
    holds,
    look,
    policies,
    policy_changes,
    promote,
    review,
    rollback,
    simulate,
    submit,
)
from lockgate.workflow.model_history import model_history

api = FastAPI(
    title="Lockgate",
    version=__version__,
    description="Promotion requests, reviews, checks, policies and people.",
    docs_url=None,
    redoc_url=None,
    responses={"401": {"model": ErrorView}, "4XX": {"model": ErrorView}},
    dependencies=[Depends(in_workspace)],
)
failures.install(api)
api.router.route_class = OnceRoute
api.include_router(people.router)
api.include_router(doctor.router)
api.include_router(audit.router)
api.include_router(lineage.router)
api.include_router(webhooks.router)
openapi.describe(api)


# Requests


@api.post("/requests", status_code=201, responses={200: {"model": RequestView}})
def ask(body: AskBody, house: House, caller: Calling, response: Response) -> RequestView:
    """Ask for a promotion. The same thing asked again is the same request, answered with 200."""
    case, is_new = submit.submit(house, body.model, body.version, Target.parse(body.target), body.comment)
    response.status_code = 201 if is_new else 200
    return view.request(case, caller.base_url)


@api.get("/requests")
def list_requests(
    house: House,
    caller: Calling,
    state: State | None = None,
    model: str | None = None,
    target: str | None = None,
    reviewer: str | None = None,
    page_token: PageToken = None,
    max_results: PageSize = 50,
) -> RequestList:
    """List requests, newest first."""
    listing = Listing("requests", (state, model, target, reviewer))
    wanted = request_rows.Filter(
        workspace=house.registry.workspace,
        state=state,
        model=model,
        target=Target.parse(target) if target is not None else None,
        reviewer=reviewer,
        before_id=listing.start(page_token),
    )
    page = look.search(house, wanted, max_results)
    return RequestList(
        requests=[view.request(case, caller.base_url) for case in page.cases],
        next_page_token=listing.token(page.next_before),
    )


@api.get("/requests/{request_id}")
def get_request(request_id: RowId, house: House, caller: Calling) -> RequestView:
    """Show a request with its verdict of now."""
    return view.request(look.request(house, request_id), caller.base_url)


@api.post("/requests/{request_id}/approve")
def approve(request_id: RowId, house: House, caller: Calling, body: ApproveBody | None = None) -> RequestView:
    """Approve a request on the evidence that it shows; 409 if that is not what it was when it was last looked at."""
    seen = body.evidence_digest if body is not None else None
    return view.request(review.approve(house, request_id, said(body), seen), caller.base_url)


@api.post("/requests/{request_id}/reject")
def reject(request_id: RowId, house: House, caller: Calling, body: CommentBody | None = None) -> RequestView:
    """Reject a request, which ends it."""
    return view.request(review.reject(house, request_id, said(body)), caller.base_url)


@api.post("/requests/{request_id}/withdraw")
def withdraw(request_id: RowId, house: House, caller: Calling, body: CommentBody | None = None) -> RequestView:
    """Take a request back."""
    return view.request(review.withdraw(house, request_id, said(body)), caller.base_url)


@api.post("/requests/{request_id}/comment")
def comment(request_id: RowId, house: House, caller: Calling, body: CommentBody) -> RequestView:
    """Say something about a request."""
    review.comment_on(house, request_id, body.comment)
    return view.request(look.request(house, request_id), caller.base_url)


@api.post("/requests/{request_id}/lift")
def lift(request_id: RowId, house: House, caller: Calling, body: CommentBody | None = None) -> RequestView:
    """Lift the rejection of a request, so that the same can be asked for again."""
    review.lift(house, request_id, said(body))
    return view.request(look.request(house, request_id), caller.base_url)


@api.post("/requests/{request_id}/re-request")
def ask_again(request_id: RowId, house: House, caller: Calling, body: AskAgainBody | None = None) -> RequestView:
    """Ask people to review, or to review again."""
    names = body.reviewers if body is not None else []
    return view.request(review.ask_again(house, request_id, names, said(body)), caller.base_url)


@api.post("/requests/{request_id}/promote")
def carry_out(request_id: RowId, house: House, caller: Calling, body: CommentBody | None = None) -> RequestView:
    """Carry out a request: everything is checked again, then the target moves."""
    return view.request(promote.promote(house, request_id, said(body)), caller.base_url)


# Checks


@api.post("/checks", status_code=201)
def report_check(body: CheckBody, house: House) -> CheckView:
    """Report what an outside system found about a version."""
    reported = checks.report(
        house,
        body.model,
        body.version,
        body.name,
        body.status,
        body.summary,
        body.details_url,
        body.metrics,
        body.evidence_digest,
    )
    return view.check(body.model, body.version, reported)


# Models


@api.post("/models/{name}/rollback")
def roll_back(name: str, body: RollbackBody, house: House) -> DecisionView:
    """Return a target to the version that served before."""
    return view.decision(rollback.roll_back(house, name, Target.parse(body.target), body.reason))


@api.post("/break-glass", status_code=201)
def break_the_glass(body: BreakGlassBody, house: House) -> DecisionView:
    """Move a protected target past the gate in an emergency; a second person must review it by `review_by`."""
    target = Target.parse(body.target)
    return view.decision(break_glass.break_the_glass(house, body.model, body.version, target, body.reason, body.ticket))


@api.get("/break-glass")
def list_break_glass(house: House, unreviewed: bool = False, max_results: PageSize = 50) -> BreakGlassList:
    """List the times that the glass was broken, newest first."""
    found = break_glass.search(house, max_results, unreviewed)
    return BreakGlassList(break_glass=[view.emergency(one) for one in found])


@api.post("/break-glass/{break_glass_id}/review")
def review_break_glass(break_glass_id: RowId, body: BreakGlassReviewBody, house: House) -> BreakGlassView:
    """Say, as a second person, whether breaking the glass was right."""
    verdict = Verdict(body.verdict)
    return view.emergency(break_glass.review(house, break_glass_id, verdict, body.comment))


# Holds and freezes


@api.post("/holds", status_code=201)
def hold(body: HoldBody, house: House) -> HoldView:
    """Keep a version from being promoted until somebody lifts it."""
    target = Target.parse(body.target) if body.target is not None else None
    return view.hold(holds.hold(house, body.model, body.version, target, body.reason))


@api.get("/holds")
def list_holds(house: House) -> HoldList:
    """List the holds that nobody has lifted."""
    return HoldList(holds=[view.hold(held) for held in holds.in_force(house)])


@api.delete("/holds/{hold_id}", status_code=204)
def lift_hold(hold_id: RowId, house: House, comment: Comment = None) -> None:
    """Lift a hold."""
    holds.lift(house, hold_id, comment)


@api.post("/freezes", status_code=201)
def freeze(body: FreezeBody, house: House, caller: Calling) -> FreezeView:
    """Freeze the promotions of some models for a time."""
    target = Target.parse(body.target) if body.target is not None else None
    return view.freeze(freezes.freeze(house, caller, body.models, target, body.from_, body.to, body.reason))


@api.get("/freezes")
def list_freezes(house: House, caller: Calling) -> FreezeList:
    """List the one-off freezes that are coming or in force."""
    return FreezeList(freezes=[view.freeze(one) for one in freezes.coming_and_in_force(house, caller)])


@api.delete("/freezes/{freeze_id}", status_code=204)
def lift_freeze(freeze_id: RowId, house: House, caller: Calling, comment: Comment = None) -> None:
    """End a freeze before its time."""
    freezes.lift(house, caller, freeze_id, comment)


@api.get("/models/{name}/history")
def history(
    name: str, house: House, caller: Calling, target: str | None = None, at: datetime | None = None
) -> HistoryView:
    """Say who held each target, from when to when, by whose decision, who approved it, and on what evidence."""
    if at is not None and at.tzinfo is None:
        raise BadInput("`at` needs a time zone: 2026-05-12T14:00:00Z or 2026-05-12T14:00:00+02:00.")
    wanted = Target.parse(target) if target is not None else None
    found = model_history(house, name, wanted, at)
    return HistoryView(model=name, history=[view.tenure(tenure, caller.base_url) for tenure in found])


@api.get("/models/{name}/holder")
def holder(name: str, house: House, caller: Calling, target: str) -> HolderView:
    """Say which version a target holds now, by which decision, and where it comes from."""
    return view.holder(holding.holder(house, name, Target.parse(target)), caller.base_url)


# Policies


@api.get("/policies")
def get_policy(house: House) -> PolicyView:
    """Show the policy that is in force."""
    return _shown(house, policies.in_force(house))


@api.put("/policies")
def put_policy(body: PolicyBody, house: House, caller: Calling) -> PolicyView:
    """Put a policy in force."""
    return _shown(house, policies.apply(house, caller, body.source))


def _shown(house: House, stored: StoredPolicy) -> PolicyView:
    return view.policy(stored, policies.unknown(house, stored))


@api.get("/policies/versions")
def list_policy_versions(house: House) -> PolicyVersionList:
    """List the policies that were applied, newest first."""
    return PolicyVersionList(versions=[view.policy_version(stored) for stored in policies.versions(house)])


@api.get("/policies/versions/{version}")
def get_policy_version(version: PolicyVersion, house: House) -> PolicyView:
    """Show a version of the policy; 0 is the default one."""
    return _shown(house, policies.of_version(house, version))


@api.get("/policies/changes")
def list_policy_changes(house: House, state: ChangeState | None = None) -> PolicyChangeList:
    """List policies that would weaken the one in force, newest first."""
    found = policy_changes.search(house, state)
    return PolicyChangeList(changes=[view.policy_change(change, missing) for change, missing in found])


@api.get("/policies/changes/{change_id}")
def get_policy_change(change_id: RowId, house: House) -> PolicyChangeView:
    """Show a policy change and what it still needs."""
    return view.policy_change(*policy_changes.look(house, change_id))


@api.post("/policies/changes/{change_id}/approve")
def approve_policy_change(
    change_id: RowId, house: House, caller: Calling, body: CommentBody | None = None
) -> PolicyChangeView:
    """Approve a policy change; the last approval that it needs puts the policy in force."""
    return view.policy_change(*policy_changes.approve(house, caller, change_id, said(body)))


@api.post("/policies/changes/{change_id}/reject")
def reject_policy_change(
    change_id: RowId, house: House, caller: Calling, body: CommentBody | None = None
) -> PolicyChangeView:
    """Reject a policy change, or take one's own back."""
    return view.policy_change(policy_changes.reject(house, caller, change_id, said(body)), [])


@api.post("/policies/simulate")
def simulate_policy(body: SimulateBody, house: House, caller: Calling) -> SimulationView:
    """Say what a policy would have made of the moves of the past, and of live requests."""
    return view.simulation(
        simulate.simulate(house, caller, body.source, body.model, body.since, body.max_results),
    )
