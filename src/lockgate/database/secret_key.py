"""LOCKGATE_SECRET_KEY: what secrets are encrypted with before they are put into the database.

It may hold several keys (`lockgate.access.at_rest.keys_of`), and so may the file that stands for it.
On SQLite there is one even if nobody has set it: in a file beside the database, for its owner only.
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine

from lockgate.access.at_rest import keys_of
from lockgate.errors import Conflict

_VARIABLE = "LOCKGATE_SECRET_KEY"


def secret_key(engine: Engine, environment: Mapping[str, str] = os.environ) -> str:
    """Return what secrets are encrypted with: one key, or several.

    Args:
        engine: The registry's database.
        environment: Where `LOCKGATE_SECRET_KEY` is looked for.

    Raises:
        Conflict: if nobody has set it, and the database is none that it can stand beside.
    """
    told = environment.get(_VARIABLE)
    if told:
        return told
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        return _beside(Path(str(engine.url.database)))
    raise Conflict(
        f"This server signs nothing and keeps no secrets, because {_VARIABLE} is not set. Set it to a long random "
        "secret (such as `openssl rand -hex 32` makes), the same for all instances, and keep a copy: what was "
        "encrypted with it can't be read without it."
    )


def check_secret_key(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what somebody has set if it is malformed.

    Raises:
        BadInput: if a key is short enough to be guessed, or they are not separated as they should be.
    """
    if told := environment.get(_VARIABLE):
        keys_of(told)


def _beside(database: Path) -> str:
    """Return the secret key in the file beside a SQLite database; it is made if it is missing."""
    path = database.with_name(database.name + ".secret-key")
    if not path.exists():
        # Whole at once, whoever else makes it at the same moment.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name) as file:  # readable by its owner only
            file.write(secrets.token_hex(32))
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text(encoding="ascii").strip()
