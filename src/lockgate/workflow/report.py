"""The report of a registered model: how many versions are in which stage, each version with the metrics of its run,
and who holds what by whose approval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockgate.access.principals import current_caller
from lockgate.access.sight import must_see
from lockgate.database import identities
from lockgate.database.history import Tenure
from lockgate.errors import NotFound
from lockgate.registry import lineage
from lockgate.registry.each import ALL_KEYS
from lockgate.registry.lineage import Place, Wanted
from lockgate.registry.run_facts import Asked
from lockgate.registry.transaction import reading
from lockgate.workflow.lineage import Page, Shown, find_versions
from lockgate.workflow.model_history import of_model
from lockgate.workflow.stores import Stores

_SHOWN = Shown(of_run=Asked(metrics=ALL_KEYS), tags=ALL_KEYS)


@dataclass(frozen=True)
class Report:
    """What there is of a model."""

    #: How many versions are in each stage, those of other pages too.
    by_stage: Mapping[str, int]
    #: Who holds the model's targets now.
    holders: Sequence[Tenure]
    page: Page


def report(stores: Stores, name: str, after: int, limit: int) -> Report:
    """Return the report of a model, some versions of it at a time, oldest first.

    Args:
        stores: The stores.
        name: The model.
        after: The number of the version that the page before ended with; 0 for the first one.
        limit: How many versions at most.

    Raises:
        NotFound: if there is no such model.
    """
    must_see(current_caller(), name)
    workspace = stores.registry.workspace
    with reading(stores.registry.engine) as session:
        if not lineage.is_there(session, workspace, name):
            raise NotFound(f"Registered Model with name={name} not found")
        by_stage = lineage.stages_of(session, workspace, name)
        known = identities.model(session, workspace, name)
        held = of_model(session, known.id, None) if known is not None else []
    page = find_versions(stores, Wanted(model=name), _SHOWN, Place(name, after), limit)
    return Report(by_stage, [tenure for tenure in held if tenure.until is None], page)
