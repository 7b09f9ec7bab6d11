"""Models and versions as Databricks describes them to a caller: who they are, who made them, what the caller may."""

from dataclasses import dataclass
from enum import StrEnum

from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from lockgate.access.principals import Caller, Principal
from lockgate.access.roles import Permission
from lockgate.database import authors, identities, policies
from lockgate.gates.policy import Policy
from lockgate.promotions.target import Target
from lockgate.registry.transaction import reading
from lockgate.workflow import transitions
from lockgate.workflow.stores import Stores
from lockgate.workflow.transitions import Activity


class Level(StrEnum):
    """Databricks' permission levels of a registered model, from least to most."""

    READ = "CAN_READ"
    EDIT = "CAN_EDIT"
    STAGING = "CAN_MANAGE_STAGING_VERSIONS"
    PRODUCTION = "CAN_MANAGE_PRODUCTION_VERSIONS"
    MANAGE = "CAN_MANAGE"


@dataclass(frozen=True)
class DescribedModel:
    """A registered model, its identity, and what the caller may."""

    model: RegisteredModel
    id: str
    level: Level


@dataclass(frozen=True)
class DescribedVersion:
    """A version, who registered it, what the caller may, and what is asked for it."""

    version: ModelVersion
    registrar: str | None
    level: Level
    open_requests: tuple[Activity, ...]


def model(stores: Stores, caller: Caller, name: str) -> DescribedModel:
    """Describe a registered model.

    Raises:
        MlflowException: if there is none of the name.
    """
    found = stores.registry.get_registered_model(name)
    return DescribedModel(found, _id_of(stores, found), _level(stores, caller, name))


def version(stores: Stores, caller: Caller, name: str, number: int) -> DescribedVersion:
    """Describe a version.

    Raises:
        MlflowException: if there is no such version.
    """
    found = stores.registry.get_model_version(name, str(number))
    asked = tuple(transitions.open_requests(stores, caller, name, number))
    return DescribedVersion(found, _registrar(stores, name, number), _level(stores, caller, name), asked)


def level_of(principal: Principal, policy: Policy, name: str) -> Level:
    """Return the level that comes nearest to what somebody may do with a model.

    The levels are a ladder and our roles are not: whoever may review, carry out or roll back what moves only through
    the gate manages its versions, though each of them does a part of it. The gate decides, whatever this says.
    """

    def manages(stage: str) -> bool:
        rights = _AT_THE_GATE if policy.protects(Target("stage", stage)) else (Permission.WRITE,)
        return any(principal.may(right, name) for right in rights)

    if principal.may(Permission.GOVERN, name):
        return Level.MANAGE
    if manages("Production"):
        return Level.PRODUCTION
    if manages("Staging"):
        return Level.STAGING
    return Level.EDIT if principal.may(Permission.WRITE, name) else Level.READ


_AT_THE_GATE = (Permission.REVIEW, Permission.PROMOTE, Permission.ROLL_BACK)


def _level(stores: Stores, caller: Caller, name: str) -> Level:
    with reading(stores.registry.engine) as session:
        return level_of(caller.principal, policies.current(session).policy, name)


def _id_of(stores: Stores, found: RegisteredModel) -> str:
    with reading(stores.registry.engine) as session:
        known = identities.model(session, stores.registry.workspace, found.name)
    if known is not None and known.created_at == found.creation_timestamp:
        return known.id
    # Made behind Lockgate's back: a mutation gives it its identity.
    with stores.registry.mutation(found.name) as begun:
        return begun.model.id


def _registrar(stores: Stores, name: str, number: int) -> str | None:
    with reading(stores.registry.engine) as session:
        known = identities.model(session, stores.registry.workspace, name)
        registered = identities.version(session, known.id, number) if known else None
        return authors.makers(session, registered.id, ()).registrar or None if registered else None
