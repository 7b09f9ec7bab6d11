"""The pointers of a model: which versions each of its targets holds, and what a change would do to them.

Pure but for `read`, `repoint` and `archive`. Only targets that something can be served from count: stages other than
None and Archived, and all aliases.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED
from mlflow.utils.time import get_current_time_millis
from sqlalchemy import CursorResult, bindparam, exists, literal, select, union_all, update
from sqlalchemy.orm import Session

from lockgate.promotions.target import TARGET_STAGES, Target
from lockgate.registry.mlflow_tables import model_versions, registered_model_aliases

Holders = Mapping[Target, frozenset[int]]


@dataclass(frozen=True)
class Change:
    """What becomes of one target: the versions that come and those that go."""

    target: Target
    gained: frozenset[int]
    lost: frozenset[int]


@dataclass(frozen=True)
class Pointers:
    """Which version numbers each target holds."""

    holders: Holders

    def of(self, target: Target) -> frozenset[int]:
        """Return the versions that a target holds."""
        return self.holders.get(target, frozenset())

    def newest(self, target: Target) -> int | None:
        """Return the version that a target serves: the highest, as MLflow's `get_latest_versions` has it."""
        return max(self.of(target), default=None)

    def with_stage(self, version: int, stage: str, archive_others: bool) -> "Pointers":
        """Return the pointers after a version went to a stage, canonically named."""
        target = Target("stage", stage)
        after = {held: versions - {version} for held, versions in self.holders.items() if held.kind == "stage"}
        if stage in TARGET_STAGES:
            others = frozenset[int]() if archive_others else after.get(target, frozenset())
            after[target] = others | {version}
        return Pointers({**self.holders, **after})

    def with_alias(self, alias: str, version: int | None) -> "Pointers":
        """Return the pointers after an alias was set, or deleted (None)."""
        held = frozenset[int]() if version is None else frozenset({version})
        return Pointers({**self.holders, Target("alias", alias): held})

    def without_version(self, version: int) -> "Pointers":
        """Return the pointers after a version was deleted."""
        return Pointers({target: versions - {version} for target, versions in self.holders.items()})

    def changes_to(self, after: "Pointers") -> list[Change]:
        """Return what differs afterwards, by target."""
        targets = sorted(self.holders.keys() | after.holders.keys())
        changes = (
            Change(target, after.of(target) - self.of(target), self.of(target) - after.of(target)) for target in targets
        )
        return [change for change in changes if change.gained or change.lost]


NONE = Pointers({})


#: A row for each version that a target of a model holds. Composed once: that takes longer than asking.
HELD = union_all(
    select(
        literal("stage").label("kind"), model_versions.c.current_stage.label("name"), model_versions.c.version
    ).where(
        model_versions.c.workspace == bindparam("of"),
        model_versions.c.name == bindparam("called"),
        model_versions.c.current_stage.in_(TARGET_STAGES),
    ),
    select(literal("alias"), registered_model_aliases.c.alias, registered_model_aliases.c.version).where(
        registered_model_aliases.c.workspace == bindparam("of"), registered_model_aliases.c.name == bindparam("called")
    ),
)


def read(session: Session, workspace: str, name: str) -> Pointers:
    """Return the pointers of a model as MLflow's tables have them now."""
    return of_rows(session.execute(HELD, {"of": workspace, "called": name}))


_REPOINT = (
    update(registered_model_aliases)
    .where(
        registered_model_aliases.c.workspace == bindparam("of"),
        registered_model_aliases.c.name == bindparam("called"),
        registered_model_aliases.c.alias == bindparam("aliased"),
        exists().where(
            model_versions.c.workspace == bindparam("of"),
            model_versions.c.name == bindparam("called"),
            model_versions.c.version == bindparam("to"),
        ),
    )
    .values(version=bindparam("to"))
)


def repoint(session: Session, workspace: str, name: str, alias: str, version: int) -> bool:
    """Point an alias at another version, in the one statement that it takes; say whether both were there.

    MLflow's own method, which takes three, is for all other cases: it makes an alias, and says what is wrong.
    """
    moved = session.execute(_REPOINT, {"of": workspace, "called": name, "aliased": alias, "to": version})
    assert isinstance(moved, CursorResult)
    return moved.rowcount == 1


_ARCHIVE = (
    update(model_versions)
    .where(
        model_versions.c.workspace == bindparam("of"),
        model_versions.c.name == bindparam("called"),
        model_versions.c.current_stage == bindparam("staged"),
        model_versions.c.version != bindparam("but"),
    )
    .values(current_stage=STAGE_ARCHIVED, last_updated_time=bindparam("archived_at"))
)


def archive(session: Session, workspace: str, name: str, stage: str, but: int) -> None:
    """Send all versions that are in a stage to Archived, but one, as MLflow's own transition does."""
    archived = {"of": workspace, "called": name, "staged": stage, "but": but, "archived_at": get_current_time_millis()}
    session.execute(_ARCHIVE, archived)


def of_rows(rows: Iterable[tuple[Literal["stage", "alias"], str, int]]) -> Pointers:
    """Return the pointers that rows of `HELD` tell of: a target's kind and name, and the number of a version."""
    found: dict[Target, set[int]] = {}
    for kind, name, version in rows:
        found.setdefault(Target(kind, name), set()).add(version)
    return Pointers({target: frozenset(versions) for target, versions in found.items()})
