"""What MLflow's registry says of many versions beside their rows: their aliases and tags, a statement each."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from lockgate.registry.each import NO_KEYS, Keys, Told, read_each, shortened
from lockgate.registry.lineage import Place
from lockgate.registry.mlflow_tables import model_version_tags, registered_model_aliases


def aliases_of(session: Session, workspace: str, models: Iterable[str]) -> dict[Place, list[str]]:
    """Return the aliases of the versions of some models, in order."""
    alias = registered_model_aliases.c
    rows = session.execute(
        select(alias.name, alias.version, alias.alias)
        .where(alias.workspace == workspace, alias.name.in_(sorted(models)))
        .order_by(alias.alias)
    )
    found: dict[Place, list[str]] = {}
    for name, number, called in rows:
        found.setdefault(Place(name, number), []).append(called)
    return found


def tags_of(session: Session, workspace: str, places: list[Place], keys: Keys) -> dict[Place, Told]:
    """Return the tags of versions, as far as their keys are asked for.

    Args:
        session: Reads the registry.
        workspace: The registry's workspace.
        places: The versions, in the order of lists.
        keys: Which tags.
    """
    if keys == NO_KEYS or not places:
        return {}
    tag = model_version_tags.c
    # Between the first and the last version there are others; they are few beside a list of all of the page's.
    numbers = [place.version for place in places]
    conditions = [
        tag.workspace == workspace,
        tag.name.in_(sorted({place.model for place in places})),
        tag.version.between(min(numbers), max(numbers)),
    ]
    found = read_each(
        session, model_version_tags, (tag.name, tag.version), tag.key, shortened(tag.value), keys, conditions
    )
    return {Place(name, number): told for (name, number), told in found.items()}
