"""Checkpoints: signed statements that the log had this entry last, with this hash. They are kept elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockgate.audit import envelope
from lockgate.audit.chain import Link, time_text
from lockgate.audit.envelope import Signer
from lockgate.canonical import canonical
from lockgate.errors import BadInput

PAYLOAD_TYPE = "application/vnd.lockgate.checkpoint+json"


@dataclass(frozen=True)
class Checkpoint:
    """What the log came to at a moment."""

    #: Of the log: each database has one of its own.
    log_id: str
    last: Link
    at: datetime

    def __str__(self) -> str:
        return f"the checkpoint of {self.at:%Y-%m-%d %H:%M:%S} UTC"


def sign(checkpoint: Checkpoint, signer: Signer) -> dict[str, Any]:
    """Return a checkpoint as a signed envelope."""
    stated = {
        "log_id": checkpoint.log_id,
        "number": checkpoint.last.number,
        "hash": checkpoint.last.hash,
        "at": time_text(checkpoint.at),
        "key_id": signer.key_id,
    }
    return envelope.sign(signer, PAYLOAD_TYPE, stated)


def read(signed: Any, keys: Sequence[Ed25519PublicKey] | None) -> Checkpoint:
    """Return the checkpoint in an envelope.

    Args:
        signed: The envelope.
        keys: The keys that are believed; None to take its word.

    Raises:
        BadInput: if it is none, or none of the keys signed it.
    """
    stated = envelope.open_envelope(signed, PAYLOAD_TYPE, keys)
    try:
        last = Link(int(stated["number"]), str(stated["hash"]))
        return Checkpoint(str(stated["log_id"]), last, datetime.fromisoformat(stated["at"]))
    except (KeyError, TypeError, ValueError):
        raise BadInput("This checkpoint lacks something. Was it written by another version of Lockgate?") from None


def as_line(signed: Any) -> str:
    """Return a signed checkpoint as the line that a file of checkpoints has for it."""
    return canonical(signed)


def latest(checkpoints: Iterable[Checkpoint]) -> Checkpoint | None:
    """Return the one that was signed last."""
    return max(checkpoints, key=lambda one: one.at, default=None)
