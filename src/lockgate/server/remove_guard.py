"""`lockgate doctor --remove-guard`: for a stock server to take the database back."""

from lockgate.database.engine import real_uri
from lockgate.database.guard.placing import take_away


def remove_guard(uri: str) -> None:
    """Remove the guard from a database. The next `lockgate server` puts it back.

    Args:
        uri: The database of registered models, as a role that owns its tables.
    """
    take_away(real_uri(uri))
