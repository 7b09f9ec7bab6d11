"""Who holds a target now, by which decision, and where its files come from: what a deployment has to know."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.access.sight import must_see
from lockgate.database import identities, policies
from lockgate.database.history import Tenure
from lockgate.errors import NotFound
from lockgate.promotions.target import Target
from lockgate.registry import pointers
from lockgate.registry.transaction import reading
from lockgate.registry.versions import KnownVersion, read_version
from lockgate.workflow.model_history import of_model
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Holder:
    """The version that a target holds."""

    model: str
    target: Target
    version: int
    known: KnownVersion
    #: Whether a rule protects the target: then a decision should have brought the version there.
    protected: bool
    #: Its time there; None if the history does not know of it.
    tenure: Tenure | None

    @property
    def is_decided(self) -> bool:
        """Whether a decision brought it there."""
        return self.tenure is not None and self.tenure.decision_id is not None


def holder(stores: Stores, name: str, target: Target) -> Holder:
    """Return the version that a target of a model holds.

    Args:
        stores: The stores.
        name: The model.
        target: The target.

    Raises:
        NotFound: if there is no such model, or its target holds nothing.
    """
    must_see(current_caller(), name)
    with reading(stores.registry.engine) as session:
        found = _holder(session, stores.registry.workspace, name, target)
        # What moves between two statements looks like something that nobody decided.
        return found if found.is_decided else _holder(session, stores.registry.workspace, name, target)


def _holder(session: Session, workspace: str, name: str, target: Target) -> Holder:
    number = pointers.read(session, workspace, name).newest(target)
    if number is None:
        raise NotFound(_nothing(session, workspace, name, target))
    known = read_version(session, workspace, name, number)
    protected = policies.current(session).policy.protects(target)
    return Holder(name, target, number, known, protected, _tenure(session, workspace, name, target, number))


def _nothing(session: Session, workspace: str, name: str, target: Target) -> str:
    if not identities.models_called(session, workspace, name):
        return f"Registered Model with name={name} not found"
    return f"No version of '{name}' holds {target}. `lockgate request {name} VERSION {target}` asks for one."


def _tenure(session: Session, workspace: str, name: str, target: Target, number: int) -> Tenure | None:
    model = identities.model(session, workspace, name)
    held = of_model(session, model.id, target) if model is not None else []
    return next((one for one in held if one.until is None and one.version == number), None)
