"""One mutation of the registry: its transaction, the caller, the time, and the model whose row it has locked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, bindparam, select
from sqlalchemy.orm import Session

from lockgate.access.principals import LOCKGATE, Caller, current_caller
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database.identities import Model, Version
from lockgate.database.record import record
from lockgate.errors import NotFound
from lockgate.events.event import EventType
from lockgate.registry import pointers, present
from lockgate.registry.adoption import identify_model, identify_version
from lockgate.registry.mlflow_tables import registered_models
from lockgate.registry.pointers import Pointers
from lockgate.registry.present import Present
from lockgate.registry.transaction import transaction


@dataclass(frozen=True)
class Mutation:
    """A mutation under way. `found` is the model, if there is one of the name; it may be one of MLflow's prompts."""

    session: Session
    caller: Caller
    now: datetime
    workspace: str
    name: str
    found: Model | None
    is_prompt: bool
    pointers: Pointers
    _versions: dict[int, Version] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model that the mutation is about.

        Raises:
            NotFound: in MLflow's words, if there is none of the name.
        """
        if self.found is None:
            raise NotFound(f"Registered Model with name={self.name} not found")
        return self.found

    def version(self, number: int) -> Version:
        """Return the identity of a version that is in MLflow's table. It never changes, so it is looked up once."""
        if number not in self._versions:
            self._versions[number] = identify_version(self.session, self.model, number)
        return self._versions[number]

    def by_lockgate(self) -> "Mutation":
        """Return the same mutation as something that Lockgate does by itself."""
        return replace(self, caller=LOCKGATE)

    def record(
        self,
        action: EventType,
        *,
        outcome: AuditOutcome = AuditOutcome.DONE,
        version: int | None = None,
        target: str | None = None,
        request_id: int | None = None,
        decision_id: int | None = None,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        """Write the audit entry and the event of what was done or refused; those of a prompt say that it is one."""
        marked = {"is_prompt": True} if self.is_prompt else {}
        entry = AuditEntry(
            action=action,
            actor=self.caller.principal.name,
            actor_id=self.caller.principal.id or None,
            address=self.caller.address,
            outcome=outcome,
            workspace=self.workspace,
            model_id=self.found.id if self.found else None,
            model=self.name or None,
            version=version,
            target=target,
            request_id=request_id,
            decision_id=decision_id,
            before=before or {},
            after={**(after or {}), **marked},
            reason=reason,
        )
        record(self.session, entry, self.now)


@contextmanager
def mutation(engine: Engine, workspace: str, name: str) -> Iterator[Mutation]:
    """Begin a transaction, lock the model's row and load what every decision needs.

    Args:
        engine: The registry's engine.
        workspace: The workspace of the model.
        name: The model's name; there may be none of it yet.
    """
    with transaction(engine) as session:
        created_at = _lock(session, workspace, name)
        is_so = present.read(session, workspace, name)
        yield Mutation(
            session,
            current_caller(),
            is_so.now,
            workspace,
            name,
            *_identified(session, is_so, workspace, name, created_at),
        )


def _identified(
    session: Session, is_so: Present, workspace: str, name: str, created_at: int | None
) -> tuple[Model | None, bool, Pointers, dict[int, Version]]:
    """Return the model, whether it is a prompt, its pointers and its known versions, as a mutation holds them."""
    if created_at is None:
        return None, False, pointers.NONE, {}
    if is_so.known is not None and is_so.known.created_at == created_at:
        return is_so.known, is_so.is_prompt, is_so.pointers, dict(is_so.versions)
    known = identify_model(session, workspace, name, created_at, is_so.now)
    return known, is_so.is_prompt, is_so.pointers, {}


_LOCK = (
    select(registered_models.c.creation_time)
    .where(registered_models.c.workspace == bindparam("of"), registered_models.c.name == bindparam("called"))
    .with_for_update()  # nothing on SQLite, where the whole file is locked
)


def _lock(session: Session, workspace: str, name: str) -> int | None:
    """Lock a model's row and return its creation time, or None if there is no such model."""
    row = session.execute(_LOCK, {"of": workspace, "called": name}).first()
    return (row.creation_time or 0) if row else None
