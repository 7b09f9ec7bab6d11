"""The registry as serving fleets and pages read it: models and versions in MLflow's own JSON, one statement each.

MLflow loads rows as objects, their relations in statements of their own, and for a model all of its versions. Here a
statement gives what one answer needs and no more, however many versions there are. What isn't found is not told from
what can't be answered here: then MLflow's own handler answers, with its own words.
"""

import json
from collections.abc import Sequence
from typing import Any

from mlflow.entities.model_registry.model_version_stages import (
    STAGE_ARCHIVED,
    STAGE_DELETED_INTERNAL,
    STAGE_NONE,
    STAGE_PRODUCTION,
    STAGE_STAGING,
)
from mlflow.protos.model_registry_pb2 import ModelVersionStatus
from sqlalchemy import ColumnElement, Engine, FromClause, Row, Select, Table, and_, bindparam, func, select, union_all

from lockgate.registry.mlflow_tables import (
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from lockgate.registry.transaction import asking

#: MLflow's objects in JSON.
Json = dict[str, Any]

_STAGES = (STAGE_NONE, STAGE_STAGING, STAGE_PRODUCTION, STAGE_ARCHIVED)
_STATUSES = frozenset(ModelVersionStatus.keys())
_VERSION_TEXTS = ("description", "user_id", "current_stage", "source", "run_id", "run_link")


class Catalog:
    """Reads models and versions.

    Args:
        engine: The registry's database.
        workspace: The workspace that is read.
    """

    def __init__(self, engine: Engine, workspace: str) -> None:
        self._engine = engine
        self._workspace = workspace
        words = _Words(engine.dialect.name)
        self._version, self._aliased = _of_number(words), _of_alias(words)
        self._model, self._latest = _model(words), _latest(words)

    def version(self, name: str, number: int) -> Json | None:
        """Return a version with its tags and aliases; None if MLflow has to answer."""
        return self._one_version(self._version, name=name, number=number)

    def aliased(self, name: str, alias: str) -> Json | None:
        """Return the version that an alias points to, with its tags and aliases; None if MLflow has to answer."""
        return self._one_version(self._aliased, name=name, alias=alias)

    def source(self, name: str, number: int) -> str | None:
        """Return where the files of a version are; None if MLflow has to answer."""
        with asking(self._engine) as connection:
            found = connection.execute(_SOURCE, {"workspace": self._workspace, "name": name, "number": number}).first()
        return (found.storage_location or found.source) if found else None

    def model(self, name: str) -> Json | None:
        """Return a model with its tags, aliases and the latest version in each stage; None if MLflow has to answer."""
        asked = {"workspace": self._workspace, "name": name}
        with asking(self._engine) as connection:
            found = connection.execute(self._model, asked).first()
            latest = connection.execute(self._latest, asked).all() if found else []
        versions = [_as_version(row) for row in latest]
        return _as_model(found, versions) if found and None not in versions else None

    def _one_version(self, statement: Select[Any], **asked: Any) -> Json | None:
        with asking(self._engine) as connection:
            found = connection.execute(statement, {"workspace": self._workspace, **asked}).first()
        return _as_version(found) if found else None


# Statements


class _Words:
    """How a database gathers rows into one value."""

    def __init__(self, dialect: str) -> None:
        is_postgresql = dialect == "postgresql"
        self._gather = func.json_agg if is_postgresql else func.json_group_array
        self._row = func.json_build_array if is_postgresql else func.json_array

    def listed(self, where: ColumnElement[bool], *columns: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the rows where something holds, as one value: lists in JSON."""
        return select(self._gather(self._row(*columns))).where(where).scalar_subquery()


def _same(one: FromClause, other: FromClause, *columns: str) -> ColumnElement[bool]:
    return and_(*(one.c[column] == other.c[column] for column in columns))


def _asked(table: FromClause) -> ColumnElement[bool]:
    return and_(table.c.workspace == bindparam("workspace"), table.c.name == bindparam("name"))


def _tags_of(words: _Words, versions: Table) -> ColumnElement[Any]:
    tags = model_version_tags
    return words.listed(_same(tags, versions, "workspace", "name", "version"), tags.c.key, tags.c.value)


def _whole_version(words: _Words) -> Select[Any]:
    """Ask for a version with its tags and aliases. One whose model is gone is none, as in MLflow."""
    versions, aliases = model_versions, registered_model_aliases.alias("its_aliases")
    model = and_(registered_models.c.workspace == versions.c.workspace, registered_models.c.name == versions.c.name)
    its_aliases = words.listed(_same(aliases, versions, "workspace", "name", "version"), aliases.c.alias)
    return (
        select(*versions.c, _tags_of(words, versions).label("tags"), its_aliases.label("aliases"))
        .join(registered_models, model)
        .where(versions.c.current_stage != STAGE_DELETED_INTERNAL)
    )


def _of_number(words: _Words) -> Select[Any]:
    return _whole_version(words).where(_asked(model_versions), model_versions.c.version == bindparam("number"))


def _of_alias(words: _Words) -> Select[Any]:
    aliases = registered_model_aliases
    return (
        _whole_version(words)
        .join(aliases, _same(aliases, model_versions, "workspace", "name", "version"))
        .where(_asked(aliases), aliases.c.alias == bindparam("alias"))
    )


_SOURCE = select(model_versions.c.storage_location, model_versions.c.source).where(
    _asked(model_versions),
    model_versions.c.version == bindparam("number"),
    model_versions.c.current_stage != STAGE_DELETED_INTERNAL,
)


def _model(words: _Words) -> Select[Any]:
    models, tags, aliases = registered_models, registered_model_tags, registered_model_aliases
    return select(
        *models.c,
        words.listed(_same(tags, models, "workspace", "name"), tags.c.key, tags.c.value).label("tags"),
        words.listed(_same(aliases, models, "workspace", "name"), aliases.c.alias, aliases.c.version).label("aliases"),
    ).where(_asked(models))


def _latest(words: _Words) -> Select[Any]:
    """Ask for the latest version in each stage, the stage first that got its first version first, as MLflow does.

    An index has the versions of each stage in their order, so that no more than the first and the last are looked at.
    """
    versions, others = model_versions, model_versions.alias("others")
    newest = union_all(
        *(select(func.max(others.c.version)).where(_asked(others), others.c.current_stage == one) for one in _STAGES)
    )
    first = (
        select(func.min(others.c.version))
        .where(_same(others, versions, "workspace", "name", "current_stage"))
        .scalar_subquery()
    )
    return (
        select(*versions.c, _tags_of(words, versions).label("tags"))
        .where(_asked(versions), versions.c.version.in_(newest))
        .order_by(first)
    )


# MLflow's messages


def _as_version(row: Row[Any]) -> Json | None:
    """Return a version as MLflow's message has it; None if MLflow could make no message of it."""
    found = row._mapping
    if found["creation_time"] is None or found["status"] not in _STATUSES:
        return None
    told: Json = {
        "name": found["name"],
        "version": str(found["version"]),
        "creation_timestamp": found["creation_time"],
        "last_updated_timestamp": found["last_updated_time"],
        **{text: found[text] for text in _VERSION_TEXTS},
        "status": found["status"],
        "status_message": found["status_message"] or None,
        "tags": _as_tags(found["tags"]),
        "aliases": sorted(alias for (alias,) in _gathered(found.get("aliases"))) or None,
    }
    return _without_absent(told)


def _as_model(row: Row[Any], latest: Sequence[Json | None]) -> Json:
    found = row._mapping
    told: Json = {
        "name": found["name"],
        "creation_timestamp": found["creation_time"],
        "last_updated_timestamp": found["last_updated_time"] or None,
        "description": found["description"] or None,
        "latest_versions": latest or None,
        "tags": _as_tags(found["tags"]),
        "aliases": [{"alias": alias, "version": str(number)} for alias, number in sorted(_gathered(found["aliases"]))]
        or None,
    }
    return _without_absent(told)


def _as_tags(value: Any) -> list[Json] | None:
    return [_without_absent({"key": key, "value": text}) for key, text in sorted(_gathered(value), key=_key)] or None


def _key(pair: Sequence[Any]) -> str:
    return str(pair[0])


def _gathered(value: Any) -> Sequence[Any]:
    """Return what a statement has gathered: SQLite gives it as text."""
    return (json.loads(value) if isinstance(value, str) else value) or ()


def _without_absent(told: Json) -> Json:
    return {name: value for name, value in told.items() if value is not None}
