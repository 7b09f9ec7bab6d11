"""What MLflow's registry tables say of a version, as far as evidence and requests need it, a statement each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, Row, Select, String, and_, bindparam, literal, null, select, union_all
from sqlalchemy.orm import Session

from lockgate.database.tables import models, requests, versions
from lockgate.errors import NotFound
from lockgate.registry.mlflow_tables import model_version_tags, model_versions, registered_model_tags


@dataclass(frozen=True)
class KnownVersion:
    """A version."""

    created_at: int
    source: str
    #: Where its files are, if not at its source.
    storage_location: str
    run_id: str
    description: str
    tags: Mapping[str, str]
    model_tags: Mapping[str, str]

    @property
    def location(self) -> str:
        """Where its files are."""
        return self.storage_location or self.source


_of_version = (
    model_versions.c.workspace == bindparam("of"),
    model_versions.c.name == bindparam("called"),
    model_versions.c.version == bindparam("numbered"),
)
_nothing = null().cast(String)
# Composed once: that takes longer than asking.
_SAID: CompoundSelect[Any] = union_all(
    select(
        literal("version").label("kind"),
        model_versions.c.creation_time,
        model_versions.c.source,
        model_versions.c.storage_location,
        model_versions.c.run_id,
        model_versions.c.description,
        _nothing.label("key"),
        _nothing.label("value"),
    ).where(*_of_version),
    select(
        literal("tag"),
        null().cast(model_versions.c.creation_time.type),
        *[_nothing] * 4,
        model_version_tags.c.key,
        model_version_tags.c.value,
    ).where(
        model_version_tags.c.workspace == bindparam("of"),
        model_version_tags.c.name == bindparam("called"),
        model_version_tags.c.version == bindparam("numbered"),
    ),
    select(
        literal("model tag"),
        null().cast(model_versions.c.creation_time.type),
        *[_nothing] * 4,
        registered_model_tags.c.key,
        registered_model_tags.c.value,
    ).where(registered_model_tags.c.workspace == bindparam("of"), registered_model_tags.c.name == bindparam("called")),
)
_LOCATION: Select[Any] = select(model_versions.c.source, model_versions.c.storage_location).where(*_of_version)
_ASKED_FOR: Select[Any] = (
    select(models.c.name, model_versions.c.source, model_versions.c.storage_location)
    .select_from(requests)
    .join(models, models.c.id == requests.c.model_id)
    .join(versions, versions.c.id == requests.c.version_id)
    .outerjoin(
        model_versions,
        and_(
            model_versions.c.workspace == models.c.workspace,
            model_versions.c.name == models.c.name,
            model_versions.c.version == versions.c.number,
        ),
    )
    .where(requests.c.id == bindparam("request"), requests.c.workspace == bindparam("of"))
)


def read_version(session: Session, workspace: str, name: str, number: int) -> KnownVersion:
    """Return a version.

    Raises:
        NotFound: if it is gone, behind Lockgate's back.
    """
    said: dict[str, list[Row[Any]]] = {}
    for row in session.execute(_SAID, _key(workspace, name, number)):
        said.setdefault(row.kind, []).append(row)
    if "version" not in said:
        raise NotFound(f"Version {number} of '{name}' is gone: somebody deleted it from the database.")
    version = said["version"][0]
    return KnownVersion(
        created_at=version.creation_time or 0,
        source=version.source or "",
        storage_location=version.storage_location or "",
        run_id=version.run_id or "",
        description=version.description or "",
        tags={row.key: row.value or "" for row in said.get("tag", ())},
        model_tags={row.key: row.value or "" for row in said.get("model tag", ())},
    )


def location_of(session: Session, workspace: str, name: str, number: int) -> str:
    """Return where a version's files are; nothing if there is no such version."""
    row = session.execute(_LOCATION, _key(workspace, name, number)).first()
    return (row.storage_location or row.source or "") if row else ""


@dataclass(frozen=True)
class AskedFor:
    """The version that a promotion request is about."""

    model: str
    #: Where its files are; nothing if it is gone.
    location: str


def asked_for(session: Session, workspace: str, request_id: int) -> AskedFor | None:
    """Return what a promotion request is about; None if there is none of this number in the workspace."""
    row = session.execute(_ASKED_FOR, {"of": workspace, "request": request_id}).first()
    return AskedFor(row.name, row.storage_location or row.source or "") if row else None


def _key(workspace: str, name: str, number: int) -> dict[str, Any]:
    return {"of": workspace, "called": name, "numbered": number}
