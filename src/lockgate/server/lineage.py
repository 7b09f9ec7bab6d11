"""The routes of lineage: versions by what they were made of, and the report of a model."""

from typing import Annotated

from fastapi import Query, Request, Response
from pydantic import BaseModel

from lockgate.errors import BadInput
from lockgate.registry.lineage import Place
from lockgate.server import lineage_view
from lockgate.server.calls import Calling, House, PageToken
from lockgate.server.conditions import PARAMETERS, conditions_of, read_conditions, shown_with
from lockgate.server.once import OnceRouter
from lockgate.server.paging import Listing
from lockgate.wire.lineage import LineageList, ReportView
from lockgate.workflow.lineage import find_versions
from lockgate.workflow.report import report as report_of

#: More than other lists: one call is to do for who asks about a thousand versions.
MAX_VERSIONS = 1_000

router = OnceRouter()
_PageSize = Annotated[int, Query(ge=1, le=MAX_VERSIONS)]
#: Long enough for the name of a model.
_LongToken = Annotated[str | None, Query(max_length=2_000)]


# What is shown is turned into JSON at once: FastAPI would go through a thousand versions twice more.
@router.get("/lineage", response_model=LineageList, openapi_extra={"parameters": PARAMETERS})
def lineage(
    request: Request, house: House, caller: Calling, page_token: _LongToken = None, max_results: _PageSize = 200
) -> Response:
    """List the versions that meet all conditions, by models' names and numbers, with where they stand."""
    parameters = request.query_params
    given = conditions_of(parameters.multi_items())
    wanted = read_conditions(given)
    listing = Listing("lineage", tuple(given))
    after = _place(listing.position(page_token))
    page = find_versions(house, wanted, shown_with(parameters.get("show", ""), wanted), after, max_results)
    ended = page.next_after
    return _json(
        LineageList(
            versions=[lineage_view.standing(one, caller.base_url) for one in page.versions],
            next_page_token=listing.token_at(f"{ended.version}:{ended.model}") if ended else None,
        )
    )


@router.get("/models/{name}/report", response_model=ReportView)
def report(
    name: str, house: House, caller: Calling, page_token: PageToken = None, max_results: _PageSize = MAX_VERSIONS
) -> Response:
    """Report on a model: its versions by stage, each with its run's metrics; who holds what, and who approved it."""
    listing = Listing("report", (name,))
    found = report_of(house, name, listing.start(page_token) or 0, max_results)
    ended = found.page.next_after
    token = listing.token(ended.version if ended else None)
    return _json(lineage_view.report(name, found, token, caller.base_url))


def _place(position: str | None) -> Place | None:
    if position is None:
        return None
    number, _, name = position.partition(":")
    if not number.isdecimal() or len(number) > 10:
        raise BadInput("This page token is of no list of versions. Start again without one.")
    return Place(name, int(number))


def _json(shown: BaseModel) -> Response:
    return Response(shown.model_dump_json(by_alias=True), media_type="application/json")
