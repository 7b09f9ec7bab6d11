"""Which versions go from one stage to another, as the audit entry and the event of a move tell it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED, STAGE_NONE
from sqlalchemy import bindparam, select

from lockgate.promotions.target import TARGET_STAGES, Target
from lockgate.registry.mlflow_tables import model_versions
from lockgate.registry.mutation import Mutation


@dataclass(frozen=True)
class StageMoves:
    """The stages of the versions that a move is about; nothing where it is of an alias.

    Attributes:
        before: Part of `before` of an audit entry: `stages`, by the versions' numbers.
        after: The same of `after`.
    """

    before: Mapping[str, Any]
    after: Mapping[str, Any]


NO_STAGES = StageMoves({}, {})


def stage_moves(begun: Mutation, version: int, stage: str, archive_others: bool) -> StageMoves:
    """Return what becomes of which version's stage when one goes to a stage. To be asked before it does.

    Args:
        begun: The mutation.
        version: The number of the version that goes.
        stage: The stage that it goes to.
        archive_others: Whether the versions that are in the stage go to `Archived`.
    """
    left = begun.pointers.of(Target("stage", stage)) - {version} if archive_others else frozenset[int]()
    before = {version: _stage_of(begun, version), **dict.fromkeys(left, stage)}
    after = {version: stage, **dict.fromkeys(left, STAGE_ARCHIVED)}
    return StageMoves(_told(before), _told(after))


def _told(stages: Mapping[int, str]) -> Mapping[str, Any]:
    return {"stages": {str(number): stages[number] for number in sorted(stages)}}


_STAGE = select(model_versions.c.current_stage).where(
    model_versions.c.workspace == bindparam("of"),
    model_versions.c.name == bindparam("called"),
    model_versions.c.version == bindparam("numbered"),
)


def _stage_of(begun: Mutation, version: int) -> str:
    """Return a version's stage; those that something is served from are known without asking."""
    for stage in TARGET_STAGES:
        if version in begun.pointers.of(Target("stage", stage)):
            return stage
    asked = {"of": begun.workspace, "called": begun.name, "numbered": version}
    return str(begun.session.execute(_STAGE, asked).scalar() or STAGE_NONE)  # of none, MLflow says that there is none
