"""Is the process up, and can it serve?"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from lockgate.database.guard.differences import differences
from lockgate.database.migrate import schema_is_current
from lockgate.workflow.stores import stores

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that the process is up."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz() -> JSONResponse:
    """Say whether the database answers, and its schema and guard are those that this code expects."""
    engine = stores().registry.engine
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            guard = differences(connection)
        ready = {
            "database": "ok",
            "migrations": "ok" if schema_is_current(engine) else "behind or ahead",
            "guard": "not as it should be: `lockgate doctor` says more" if guard else "ok",
        }
    except SQLAlchemyError:
        ready = {"database": "unreachable"}
    return JSONResponse(ready, 200 if set(ready.values()) == {"ok"} else 503)
