"""The statement that OpenSSF model signing makes of files: what would be signed.

A module of its own because of what the package imports, which takes longer than all of ours: see
`lockgate.evidence.manifest.load_format`.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from google.protobuf import json_format
from model_signing._hashing.hashing import Digest
from model_signing._signing.signing import Payload
from model_signing.manifest import FileManifestItem, Manifest, SerializationType


def statement(files: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the in-toto statement of files.

    Args:
        files: The path and the SHA-256, in hex, of each.
    """
    items = [
        FileManifestItem(path=PurePosixPath(path), digest=Digest("sha256", bytes.fromhex(sha))) for path, sha in files
    ]
    # Links inside the location are followed (`lockgate.registry.folders`), and that is what this says.
    method = SerializationType.from_args({"method": "files", "hash_type": "sha256", "allow_symlinks": True})
    payload = Payload(Manifest("model", items, method))
    stated: dict[str, Any] = json_format.MessageToDict(payload.statement.pb)
    return stated
