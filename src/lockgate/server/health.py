"""Is the process up, and can it serve?"""

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from lockgate.database.engine import reading_session
from lockgate.database.guard.differences import idle_triggers
from lockgate.database.guard.wholeness import what_is_wrong
from lockgate.database.migrate import NEWER, Schema, schema_of
from lockgate.errors import LockgateError
from lockgate.workflow.checkpoints import Schedule
from lockgate.workflow.stores import stores
from lockgate.workflow.testimony import troubles

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process is up. Asynchronous: whoever asks needs no thread, which calls may all have that wait."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz() -> JSONResponse:
    """Say whether the database answers, has a schema that this code may write to, and its guard; what is wrong with
    checkpoints is said, too, and leaves it ready.
    """
    engine = stores().registry.engine
    try:
        schema = schema_of(engine)
        can_serve = schema in (Schema.CURRENT, Schema.AHEAD)
        with reading_session(engine) as session:
            wrong = idle_triggers(session.connection()) if schema in NEWER else what_is_wrong(session)
        kept = Schedule.read().uris if can_serve else ()
        told = troubles(engine, kept) if kept else {}
    except (SQLAlchemyError, LockgateError):
        return JSONResponse({"database": "unreachable"}, 503)
    found = {"database": "ok", "migrations": schema, "guard": _told(schema, wrong)}
    if told:
        # It says nothing about whether calls can be answered.
        found["checkpoints"] = "not as they should be: `lockgate doctor` says more"
    return JSONResponse(found, 200 if can_serve and not wrong else 503)


def _told(schema: Schema, wrong: list[str]) -> str:
    if wrong:
        return "not as it should be: `lockgate doctor` says more"
    # While a new version is rolled out, the old one serves on a database that is ahead of it, with a guard of its own.
    return "there; a newer server's, so it was not compared" if schema in NEWER else "ok"
