"""Everything that is encrypted at rest: whether LOCKGATE_SECRET_KEY opens it, and how it gets another key."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlflow.environment_variables import MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.at_rest import AtRest
from lockgate.audit.entry import AuditEntry
from lockgate.database import signing_keys, webhooks
from lockgate.database.engine import now
from lockgate.database.record import record
from lockgate.delivery import receivers
from lockgate.errors import BadInput, Conflict
from lockgate.events.event import EventType
from lockgate.registry import mlflow_webhooks
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow import signing


@dataclass(frozen=True)
class Kind:
    """One kind of what is encrypted at rest."""

    #: One of them, and several, as people call them.
    one: str
    many: str
    at_rest: Callable[[Engine], AtRest]
    #: Returns what is stored of it, by ids.
    sealed: Callable[[Session], dict[str, str]]
    #: Replaces what is stored under an id, unless somebody has meanwhile; says whether it did.
    reseal: Callable[[Session, str, str, str], bool]
    #: What to do about one that no key opens; empty if that keeps nothing else from being encrypted anew.
    way_out: str = ""


_SIGNING_KEY = Kind(
    "signing key",
    "signing keys",
    signing.at_rest,
    signing_keys.sealed,
    signing_keys.reseal,
    'docs/howto/prove-the-audit-log.md, "If the secret key is lost", says what to do if nobody has it.',
)
_WEBHOOK = Kind(
    "webhook",
    "webhooks",
    receivers.webhooks_at_rest,
    webhooks.sealed,
    webhooks.reseal,
    "If nobody has it, remove the webhook and add it again.",
)
_MLFLOWS_WEBHOOK = Kind(
    "webhook of MLflow's",
    "webhooks of MLflow's",
    mlflow_webhooks.at_rest,
    mlflow_webhooks.sealed,
    mlflow_webhooks.reseal,
)


def _kinds() -> Iterator[Kind]:
    """Return what LOCKGATE_SECRET_KEY encrypts."""
    yield _SIGNING_KEY
    yield _WEBHOOK
    if not MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY.get():
        yield _MLFLOWS_WEBHOOK


@dataclass(frozen=True)
class Rotated:
    """What of one kind was encrypted with the first key.

    Attributes:
        kind: Which.
        anew: How many were encrypted with another one, until now.
        before: How many were encrypted with it already.
        unopened: Ids of those that no key opens, and that were left as they are.
    """

    kind: Kind
    anew: int
    before: int
    unopened: tuple[str, ...]


def rotate(engine: Engine) -> list[Rotated]:
    """Encrypt everything with the first key of LOCKGATE_SECRET_KEY, in one transaction, on record.

    Args:
        engine: The registry's database.

    Raises:
        Conflict: if there is no secret key.
        BadInput: if a key is malformed, or something was encrypted with another one than all of them: then nothing is
            changed.
    """
    with transaction(engine) as session:
        done = [_rotated(session, kind, kind.at_rest(engine)) for kind in _kinds()]
        after = {one.kind.many: one.anew for one in done}
        if any(after.values()):
            record(session, AuditEntry(EventType.SECRET_KEY_ROTATED, "lockgate", None, "", after=after), now(session))
        return done


def _rotated(session: Session, kind: Kind, at_rest: AtRest) -> Rotated:
    found = kind.sealed(session)
    unopened = [one for one, stored in found.items() if not at_rest.opens(stored)]
    if unopened and kind.way_out:
        raise BadInput(
            f"No key of LOCKGATE_SECRET_KEY opens what is secret of {kind.one} {', '.join(unopened)}, so nothing was "
            f"changed. Add the key that it was encrypted with at the end: NEW,OLD. {kind.way_out}"
        )
    newest = [one for one, stored in found.items() if at_rest.is_newest(stored)]
    older = sorted(found.keys() - {*newest, *unopened})
    anew = sum(kind.reseal(session, one, found[one], at_rest.anew(found[one])) for one in older)
    return Rotated(kind, anew, len(newest), tuple(unopened))


def unopened(engine: Engine) -> list[str]:
    """Say what this server can't open, in sentences; none if all is well.

    Args:
        engine: The registry's database.

    Raises:
        BadInput: if a key is malformed.
    """
    with reading(engine) as session:
        return [sentence for kind in _kinds() if (sentence := _told(kind, _unopened(session, kind, engine)))]


def _unopened(session: Session, kind: Kind, engine: Engine) -> list[str]:
    found = kind.sealed(session)
    if not found:
        return []
    try:
        at_rest = kind.at_rest(engine)
    except Conflict:  # There is no secret key.
        return list(found)
    return [one for one, stored in found.items() if not at_rest.opens(stored)]


def _told(kind: Kind, unopened: list[str]) -> str:
    if not unopened:
        return ""
    which = kind.one if len(unopened) == 1 else kind.many
    return (
        f"No key of LOCKGATE_SECRET_KEY opens what is secret of {which} {', '.join(unopened)}: it was encrypted with "
        "another one. Start with that one again, if need be behind the newest: NEW,OLD."
    )
