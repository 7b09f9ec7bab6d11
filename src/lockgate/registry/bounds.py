"""Where a caller's roles end in the tracking store: patterns bind to the names of experiments.

Every method of MLflow's that `touches` lists is asked about before it runs. Who has the right everywhere is let through
without a look at the database; for the others one statement says in which experiments the things lie. What a caller may
not see is answered as if it were not there.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeGuard, TypeVar

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracing.constant import TraceTagKey
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION

from lockgate.access.principals import Caller, Principal, current_caller
from lockgate.access.roles import Permission, least_role, roles_with
from lockgate.errors import Refused
from lockgate.registry.experiments import names_of
from lockgate.registry.touches import TOUCHES, Kind, Touch
from lockgate.registry.transaction import told_by_mlflow
from lockgate.registry.wrapping import what_comes_next

_Store = TypeVar("_Store", bound=type[Any])

#: As MLflow says it of what is not there.
_NOT_THERE = {
    Kind.EXPERIMENT: "No Experiment with id={} exists",
    Kind.RUN: "Run with id={} not found",
    Kind.TRACE: "Trace with ID '{}' not found.",
    Kind.LOGGED_MODEL: "Logged model with ID '{}' not found.",
    Kind.DATASET: "Evaluation dataset with id '{}' not found",
}

#: The right that the method under way was let in by; what MLflow calls inside it is its own business.
_under_way: ContextVar[Permission | None] = ContextVar("lockgate_tracking_right", default=None)


def bounded(store: _Store) -> _Store:
    """Make every method of a store that `touches` lists ask first."""
    for method, touch in TOUCHES.items():
        setattr(store, method, _asking(store, method, touch))
    return store


def require(store: SqlAlchemyStore, permission: Permission, kind: Kind, things: Sequence[str]) -> None:
    """Refuse unless the caller has a right on all of these.

    Raises:
        MlflowException: as if they were not there, if the caller may not see them; else with the roles that would do.
    """
    with told_by_mlflow():
        caller = current_caller()
        if caller.principal.may(permission):
            return
        caller.require_somewhere(permission)
        _judge(caller, permission, kind, things, names_of(store, kind, things))


def visible(store: SqlAlchemyStore, kind: Kind, things: Sequence[str]) -> list[str]:
    """Return those that the caller may read."""
    principal = current_caller().principal
    if _under_way.get() is not None or principal.may(Permission.READ):
        return list(things)
    names = names_of(store, kind, things)
    return [thing for thing in things if _covers_any(principal, Permission.READ, names.get(str(thing), ()))]


def may_write(store: SqlAlchemyStore, kind: Kind, thing: str) -> bool:
    """Say whether the caller may write to something."""
    principal = current_caller().principal
    if principal.may(Permission.WRITE):
        return True
    return _covers_any(principal, Permission.WRITE, names_of(store, kind, [thing])[thing])


def in_experiment(principal: Principal, permission: Permission, experiment: str) -> str:
    """Say that somebody may not do something in an experiment, and what it needs."""
    return (
        f"{principal.name} may not {permission} in the experiment '{experiment}': this needs the role "
        f"{roles_with(permission)} for it. Ask an administrator "
        f"(`lockgate users add {principal.name} --role {least_role(permission)}:{experiment}`)."
    )


def refuse_unknown_writes() -> None:
    """Refuse to write outside the methods that `touches` lists."""
    if _under_way.get() in (None, Permission.READ):
        raise MlflowException(
            "Lockgate doesn't know this change, so it is refused. If it is a feature of MLflow that you need, please "
            "report it.",
            PERMISSION_DENIED,
        )


def _asking(store: type[Any], method: str, touch: Touch) -> Callable[..., Any]:
    mlflows = getattr(SqlAlchemyStore, method)
    signature, then = inspect.signature(mlflows), what_comes_next(store, method)

    @functools.wraps(getattr(store, method))
    def ask_first(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = then(self)
        if _under_way.get() is not None:
            return inner(*args, **kwargs)
        with told_by_mlflow():
            principal = current_caller().principal
        if not principal.may(touch.permission):
            given = signature.bind(self, *args, **kwargs)
            _ask(self, touch, given.arguments)
            args, kwargs = given.args[1:], given.kwargs
        token = _under_way.set(touch.permission)
        try:
            return inner(*args, **kwargs)
        finally:
            _under_way.reset(token)

    return ask_first


def _ask(store: SqlAlchemyStore, touch: Touch, given: dict[str, Any]) -> None:
    with told_by_mlflow():
        caller = current_caller()
        caller.require_somewhere(touch.permission)
        if not touch.on:
            caller.require(touch.permission)
        for kind, argument in touch.on:
            if touch.permission is Permission.READ and _are_several(given.get(argument)):
                given[argument] = visible(store, kind, [str(thing) for thing in given[argument]])
            else:
                things = list(_named(given, argument))
                names = names_of(store, kind, things)
                _judge(caller, touch.permission, kind, things, names)


def _are_several(value: object) -> TypeGuard[Sequence[Any]]:
    # Handlers pass protobuf's own sequences on.
    return isinstance(value, Sequence) and not isinstance(value, str)


def _named(given: Mapping[str, Any], argument: str) -> Iterator[str]:
    """Yield what an argument names: `spans.trace_id` is the trace of each of the spans."""
    name, _, attribute = argument.partition(".")
    value = given.get(name)
    for one in value if _are_several(value) else (value,):
        found = getattr(one, attribute) if attribute else one
        yield from (str(each) for each in (found if isinstance(found, Mapping) else (found,)) if each)


def _judge(
    caller: Caller, permission: Permission, kind: Kind, things: Sequence[str], names: Mapping[str, Iterable[str]]
) -> None:
    """Refuse unless a caller with bounds has a right on everything that a call names.

    Raises:
        Refused: with the experiment, and the role that would do.
        MlflowException: for what the caller may not see, as for what is not there.
    """
    if kind is Kind.LOCATION:
        _judge_location(caller, things)
        return
    if kind is Kind.TRACE_TAG:
        _judge_trace_tags(caller, things)
        return
    if kind is Kind.EXPERIMENT and not things:
        caller.require(permission)  # It belongs to no experiment.
    for thing in things:
        within = tuple(names.get(thing, ()))
        if not within and kind is Kind.NEW_TRACE:
            continue
        if kind is not Kind.NAME and not _covers_any(caller.principal, Permission.READ, within):
            raise MlflowException(
                _NOT_THERE.get(kind, f"{kind} '{{}}' not found").format(thing), RESOURCE_DOES_NOT_EXIST
            )
        for name in within:
            if not caller.principal.may(permission, name):
                raise Refused(in_experiment(caller.principal, permission, name))


def _covers_any(principal: Principal, permission: Permission, names: Iterable[str]) -> bool:
    return any(principal.may(permission, name) for name in names)


def _judge_location(caller: Caller, locations: Sequence[str]) -> None:
    if any(locations):
        raise Refused(
            f"{caller.principal.name} may not choose where an experiment keeps its files: this needs a role for all "
            "experiments. Leave `artifact_location` out."
        )


#: Tags by which the server finds a trace's files, which it reads with keys of its own.
_PLACES_OF_TRACES = frozenset({MLFLOW_ARTIFACT_LOCATION, TraceTagKey.ARCHIVE_LOCATION})


def _judge_trace_tags(caller: Caller, keys: Sequence[str]) -> None:
    if not _PLACES_OF_TRACES.isdisjoint(keys):
        raise Refused(
            f"{caller.principal.name} may not choose where a trace keeps its files: this needs a role for all "
            f"experiments. Leave the tags {' and '.join(sorted(_PLACES_OF_TRACES))} out."
        )
