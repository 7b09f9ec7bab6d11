"""Is the process up, and can it serve?"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lockgate.database.guard.differences import differences
from lockgate.database.migrate import Schema, schema_of
from lockgate.errors import LockgateError
from lockgate.workflow.checkpoints import Schedule
from lockgate.workflow.stores import stores
from lockgate.workflow.testimony import troubles

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process is up."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz() -> JSONResponse:
    """Say whether the database answers, has a schema that this code may write to, and its guard; what is wrong with
    checkpoints is said, too, and leaves it ready.
    """
    engine = stores().registry.engine
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            guard = differences(connection)
        schema = schema_of(engine)
        kept = Schedule.read().uris if schema in (Schema.CURRENT, Schema.AHEAD) else ()
        told = troubles(engine, kept) if kept else {}
    except (SQLAlchemyError, LockgateError):
        return JSONResponse({"database": "unreachable"}, 503)
    # While a new version is rolled out, the old one serves on a database that is ahead of it, with a guard of its own.
    ahead = schema is Schema.AHEAD
    found = {
        "database": "ok",
        "migrations": schema,
        "guard": "not as it should be: `lockgate doctor` says more" if guard and not ahead else "ok",
    }
    if told:
        # It says nothing about whether calls can be answered.
        found["checkpoints"] = "not as they should be: `lockgate doctor` says more"
    is_ready = ahead or (schema is Schema.CURRENT and not guard)
    return JSONResponse(found, 200 if is_ready else 503)
