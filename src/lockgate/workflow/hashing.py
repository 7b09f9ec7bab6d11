"""TEMPORARY."""

from lockgate.evidence.manifest import Artifacts
from lockgate.evidence.record import NOT_LOOKED_AT


def look_at(stores, location: str) -> Artifacts:
    return NOT_LOOKED_AT
