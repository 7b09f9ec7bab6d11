"""One text for one value: what digests and hash chains are taken over."""

import json
import math
from collections.abc import Mapping
from typing import Any


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no blanks; numbers that JSON lacks become strings."""
    return json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
