"""`lockgate init-db`: a database with its tables, its guard, and a role for each who uses it."""

from lockgate.database.engine import engine_for, real_uri
from lockgate.database.guard.placing import put_in_place, put_on_record
from lockgate.database.guard.roles import Roles, set_up
from lockgate.database.migrate import alone, prepare_database
from lockgate.errors import BadInput
from lockgate.events.event import EventType


def init_db(uri: str, owner: str, app: str, others: str) -> list[str]:
    """Prepare a database on PostgreSQL for roles of its own; the same again after each upgrade.

    Args:
        uri: The database, as a role that may make roles and owns the tables, or a superuser.
        owner: The role that owns all tables.
        app: The role of `lockgate server`.
        others: The role of whatever else uses MLflow's tables.

    Returns:
        What was done, in sentences.

    Raises:
        BadInput: if the database is no PostgreSQL, or two roles have one name.
        Outdated: if a newer Lockgate has migrated the database.
    """
    real = real_uri(uri)
    if engine_for(real).dialect.name != "postgresql":
        raise BadInput(
            "Roles are for PostgreSQL: SQLite has none. `lockgate server` prepares a database there by itself."
        )
    if len({owner, app, others}) < 3:
        raise BadInput("The owner, the application and the others are three roles with three names.")
    prepare_database(real)
    put_in_place(real)
    with alone(engine_for(real)) as connection:
        made = set_up(connection, Roles(owner, app, others))
        after = {"owner": owner, "app": app, "others": others, "made": made}
        put_on_record(connection, EventType.ROLES_SET, after)
    told = [f"The tables, the guard and the roles {owner}, {app} and {others} are in place."]
    if made:
        told.append(f"Give the new roles passwords (\\password in psql): {', '.join(made)}.")
    return [
        *told,
        f"Let `lockgate server` sign in as {app}, and everything else that uses MLflow's tables as {others}.",
    ]
