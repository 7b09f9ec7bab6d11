"""What a browser's session cookie holds, and what follows from it.

`lockgate_RANDOM.FAMILY.ISSUED`: the database knows the digest of the whole, so no part of it can be made up. The family
stays when the session gets a new token, and with it the secret of the session's forms; when it was issued says, without
asking the database, whether a new one is due.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from lockgate.access.credentials import new_token

LIFETIME = timedelta(hours=12)
#: After how long a session in use gets a new token.
ROTATION = timedelta(hours=1)
#: How long the one before stays valid, for calls that are under way.
GRACE = timedelta(minutes=1)


def new_session_token(at: datetime, after: str | None = None) -> str:
    """Return a new token: of a new session, or of the one that `after` was of."""
    family = _family(after) if after is not None else secrets.token_urlsafe(16)
    return f"{new_token()}.{family}.{int(at.timestamp())}"


def is_due(token: str, at: datetime) -> bool:
    """Say whether a session's token is old enough to be replaced."""
    issued = token.rpartition(".")[2]
    return issued.isdecimal() and len(issued) < 15 and int(issued) + ROTATION.total_seconds() <= at.timestamp()


def form_token(cookie: str) -> str:
    """Return what proves that a form is of a page that we gave to whoever has this cookie."""
    return hashlib.sha256(f"lockgate form\0{_family(cookie)}".encode(errors="backslashreplace")).hexdigest()


def is_form_token(cookie: str, given: str) -> bool:
    """Say whether this is the form token that belongs to a cookie."""
    return hmac.compare_digest(form_token(cookie).encode(), given.encode(errors="backslashreplace"))


def _family(token: str) -> str:
    parts = token.split(".")
    return parts[1] if len(parts) == 3 else token
