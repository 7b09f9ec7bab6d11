"""Is the process up, and can it serve?"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lockgate.database.migrate import Schema, schema_of
from lockgate.workflow.stores import stores

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process is up."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz() -> JSONResponse:
    """Say whether the database answers, and has a schema that this code may write to."""
    engine = stores().registry.engine
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        schema = schema_of(engine)
    except SQLAlchemyError:
        return JSONResponse({"database": "unreachable"}, 503)
    # While a new version is rolled out, the old one serves on a database that is ahead of it.
    is_ready = schema in (Schema.CURRENT, Schema.AHEAD)
    return JSONResponse({"database": "ok", "migrations": schema}, 200 if is_ready else 503)
