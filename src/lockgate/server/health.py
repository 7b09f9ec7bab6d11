"""Is the process up, and can it serve?"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lockgate.database.engine import reading_session
from lockgate.database.guard.wholeness import what_is_wrong
from lockgate.database.migrate import Schema, schema_of
from lockgate.workflow.stores import stores

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process is up."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz() -> JSONResponse:
    """Say whether the database answers, has a schema that this code may write to, and its guard."""
    engine = stores().registry.engine
    try:
        with reading_session(engine) as session:
            session.execute(text("SELECT 1"))
            guard = what_is_wrong(session)
        schema = schema_of(engine)
    except SQLAlchemyError:
        return JSONResponse({"database": "unreachable"}, 503)
    # While a new version is rolled out, the old one serves on a database that is ahead of it, with a guard of its own.
    ahead = schema is Schema.AHEAD
    found = {
        "database": "ok",
        "migrations": schema,
        "guard": "not as it should be: `lockgate doctor` says more" if guard and not ahead else "ok",
    }
    is_ready = ahead or (schema is Schema.CURRENT and not guard)
    return JSONResponse(found, 200 if is_ready else 503)
