"""Which versions come from some data, code or run: found by what their runs say, with where they stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.access.sight import Sight, sight_of
from lockgate.database import history, requests
from lockgate.database.history import Tenure
from lockgate.database.requests import LiveRequest
from lockgate.registry import lineage
from lockgate.registry.each import NO_KEYS, Keys
from lockgate.registry.lineage import ListedVersion, Place, Wanted
from lockgate.registry.run_facts import NOTHING, Asked, RunFacts, read_facts
from lockgate.registry.transaction import reading
from lockgate.registry.version_facts import aliases_of, tags_of
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Shown:
    """What is told of each version beside where it stands."""

    of_run: Asked
    tags: Keys = NO_KEYS


@dataclass(frozen=True)
class Standing:
    """A version, what it comes from and where it stands."""

    version: ListedVersion
    aliases: Sequence[str]
    tags: Mapping[str, str]
    run: RunFacts
    #: What it holds now.
    holds: Sequence[Tenure]
    requests: Sequence[LiveRequest]
    #: The kinds of facts of which there is more.
    cut: Sequence[str]


@dataclass(frozen=True)
class Page:
    """Some versions, and where to go on."""

    versions: tuple[Standing, ...]
    next_after: Place | None


def find_versions(stores: Stores, wanted: Wanted, shown: Shown, after: Place | None, limit: int) -> Page:
    """Return the versions that meet all conditions and that the caller may see, by names and numbers.

    It takes the same few statements for one version as for a thousand.

    Args:
        stores: The stores.
        wanted: The conditions.
        shown: What to tell of each version.
        after: Where the page before ended.
        limit: How many at most.

    Raises:
        BadInput: if runs are in a database of their own, and too many meet the conditions.
    """
    sight = sight_of(current_caller().principal)
    workspace = stores.registry.workspace
    with reading(stores.registry.engine) as session:
        found = lineage.find(session, workspace, stores.tracking, wanted, sight, after, limit + 1)
        standing = _standing(session, stores, found[:limit], shown, sight)
    return Page(standing, found[limit - 1].place if len(found) > limit else None)


def _standing(
    session: Session, stores: Stores, found: Sequence[ListedVersion], shown: Shown, sight: Sight | None
) -> tuple[Standing, ...]:
    """Say where versions stand, all at once."""
    if not found:
        return ()
    workspace, places = stores.registry.workspace, [one.place for one in found]
    names = {place.model for place in places}
    aliases = aliases_of(session, workspace, names)
    tags = tags_of(session, workspace, places, shown.tags)
    held = history.held_now(session, workspace, names)
    live = requests.live_of_models(session, workspace, names)
    said = read_facts(stores.tracking, {one.run_id for one in found if one.run_id}, shown.of_run, sight)
    standing = []
    for one in found:
        place, run = one.place, said.get(one.run_id, NOTHING)
        called, key = tags.get(place), (place.model, place.version)
        standing.append(
            Standing(
                one,
                aliases.get(place, ()),
                dict(called.pairs) if called else {},
                run,
                held.get(key, ()),
                live.get(key, ()),
                (*run.cut, *(("tags",) if called and called.cut else ())),
            )
        )
    return tuple(standing)
