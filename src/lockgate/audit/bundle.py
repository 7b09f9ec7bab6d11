"""A decision as one signed bundle: an in-toto statement (https://in-toto.io/Statement/v1) in a DSSE envelope.

Its subjects are the model's files and the evidence, by their digests; the predicate is what was decided, why, by whom.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockgate.audit import envelope
from lockgate.audit.chain import line_hash
from lockgate.audit.envelope import Signer
from lockgate.canonical import canonical
from lockgate.errors import BadInput

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:lockgate:decision:v1"


def statement(
    model: str, version: int | None, files_digest: str, evidence_digest: str, predicate: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the statement about a decision.

    Args:
        model: The registered model.
        version: The version that was decided about; None if a target was cleared.
        files_digest: SHA-256 of the OpenSSF model-signing statement about its files, `sha256:...`; empty if they could
            not be hashed.
        evidence_digest: SHA-256 of the evidence, `sha256:...`; empty if there was none.
        predicate: What was decided.
    """
    name = f"models:/{model}/{version}" if version is not None else f"models:/{model}"
    digests = {name: files_digest, f"{name}#evidence": evidence_digest}
    subject = [{"name": of, "digest": {"sha256": digest.partition(":")[2]}} for of, digest in digests.items() if digest]
    if not subject:
        # A statement is about something; here that is what was decided, and nothing else.
        subject = [{"name": name, "digest": {"sha256": hashlib.sha256(canonical(predicate).encode()).hexdigest()}}]
    return {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": PREDICATE_TYPE, "predicate": dict(predicate)}


def check_lines(stated: Mapping[str, Any], exported: Mapping[int, str] | None) -> None:
    """See that the lines of the log in a bundle have the hashes that it says, and that an export has them.

    Args:
        stated: The statement.
        exported: Hashes of the lines of an export, by number: at least of those in the bundle; None without one.

    Raises:
        BadInput: if it is not so.
    """
    for entry in stated["predicate"]["log"]["entries"]:
        number, line = entry["number"], entry.get("line")
        if line is not None and line_hash(line) != entry["hash"]:
            raise BadInput(f"The line of entry {number:,} in this bundle does not have the hash that it says.")
        if exported is not None and exported.get(number) != entry["hash"]:
            raise BadInput(f"Entry {number:,} in this bundle is not what the export has as entry {number:,}.")


def sign(stated: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """Return a statement in a signed envelope."""
    return envelope.sign(signer, PAYLOAD_TYPE, stated)


def read(signed: Any, keys: Sequence[Ed25519PublicKey]) -> dict[str, Any]:
    """Return the statement in an envelope.

    Raises:
        BadInput: if none of the keys signed it, or it is none of ours.
    """
    stated = envelope.open_envelope(signed, PAYLOAD_TYPE, keys)
    if stated.get("_type") != STATEMENT_TYPE or stated.get("predicateType") != PREDICATE_TYPE:
        raise BadInput("This is a signed statement, but not about a decision of Lockgate's.")
    return stated
