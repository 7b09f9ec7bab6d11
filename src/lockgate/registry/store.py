"""`GovernedStore`: MLflow's registry store, with the gate in it.

Every mutation begins our transaction, locks the model's row, decides, runs MLflow's own method, checks that the
pointers are where they were decided to be, and writes history, audit entry and event. A method of MLflow's that
is not written out here can't write: its session is refused (`_refuse_unknown_writes`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Never

from mlflow.entities.model_registry import ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import (
    ALL_STAGES,
    STAGE_ARCHIVED,
    STAGE_NONE,
    get_canonical_stage,
)
from mlflow.entities.webhook import Webhook
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.prompt.registry_utils import handle_resource_already_exist_error, has_prompt_tag
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.store.entities import PagedList
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_name,
    _validate_model_renaming,
    _validate_model_version,
    _validate_registered_model_tag,
)
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lockgate.access.principals import LOCKGATE, calling, current_caller
from lockgate.access.roles import Permission
from lockgate.database import deliveries, identities, requests
from lockgate.database.engine import engine_for
from lockgate.errors import NotFound, Refused
from lockgate.events.event import EventType
from lockgate.promotions.request import State
from lockgate.promotions.target import TARGET_STAGES, Target
from lockgate.registry import mlflow_webhooks, pointers
from lockgate.registry.adoption import identify_version
from lockgate.registry.aftermath import end, settle
from lockgate.registry.filters import bounded_searches
from lockgate.registry.gate import Gate
from lockgate.registry.granting import granted
from lockgate.registry.listeners import begin_to_tell
from lockgate.registry.mutation import Mutation, mutation
from lockgate.registry.pointers import Pointers
from lockgate.registry.searching import checking_page_tokens
from lockgate.registry.stages import NO_STAGES, StageMoves, stage_moves
from lockgate.registry.transaction import joining, reading_apart, told_by_mlflow
from lockgate.registry.visible import in_registry, showing


@bounded_searches
@checking_page_tokens
class GovernedStore(SqlAlchemyStore):  # type: ignore[misc]
    """MLflow's SQL registry store; nothing changes in it but through the gate.

    Args:
        db_uri: The database, as `lockgate.database.engine.real_uri` returns it.
        gate: What decides about pointers.
    """

    def __init__(self, db_uri: str, gate: Gate) -> None:
        self.gate = gate
        super().__init__(db_uri)
        apart = reading_apart(self.engine, vars(self)["ManagedSessionMaker"], self.read_engine)
        self.ManagedSessionMaker = joining(self.engine, showing(apart, in_registry), _refuse_unknown_writes)

    @classmethod
    def _get_or_create_engine(cls, db_uri: str) -> Engine:
        return engine_for(db_uri)

    @property
    def workspace(self) -> str:
        """The workspace that this call is about."""
        return str(self._get_active_workspace())

    @contextmanager
    def mutation(self, name: str) -> Iterator[Mutation]:
        """Begin a mutation of a model: see `lockgate.registry.mutation`."""
        with mutation(self.engine, self.workspace, name) as begun:
            yield begun

    # Registered models

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        """Create a model, give it its identity."""
        with self._writing(name) as begun:
            _validate_model_name(name)
            for tag in tags or []:
                _validate_registered_model_tag(tag.key, tag.value)
            if begun.found is not None:
                existing = self.get_registered_model(name)
                handle_resource_already_exist_error(name, has_prompt_tag(existing._tags), has_prompt_tag(tags))
            created = super().create_registered_model(name, tags, description, deployment_job_id)
            self.gate.check_name(begun, name, bool(has_prompt_tag(tags)))
            born = identities.add_model(begun.session, begun.workspace, name, created.creation_timestamp, adopted=False)
            after = {"description": description, "tags": {tag.key: tag.value for tag in tags or []}}
            replace(begun, found=born).record(EventType.MODEL_CREATED, after=after)
            return created

    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        """Change a model's description."""
        with self._writing(name) as begun:
            before = begun.found and self.get_registered_model(name).description
            updated = super().update_registered_model(name, description, deployment_job_id)
            begun.record(
                EventType.MODEL_UPDATED,
                before={"description": before},
                after={"description": description},
            )
            return updated

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Rename a model; its identity, requests and history go along."""
        _validate_model_renaming(new_name)
        with self._writing(name) as begun:
            if begun.found is not None:
                begun.caller.require(Permission.WRITE, new_name)
                self._refuse_taken_name(begun, new_name)
                self.gate.check_rename(begun, new_name, self._is_prompt(begun))
            renamed = super().rename_registered_model(name, new_name)
            if new_name != name:
                identities.rename_model(begun.session, begun.model.id, new_name)
            begun.record(EventType.MODEL_RENAMED, before={"name": name}, after={"name": new_name})
            return renamed

    def _refuse_taken_name(self, begun: Mutation, new_name: str) -> None:
        # As MLflow says it, without the database's own words.
        if new_name != begun.name and identities.model(begun.session, begun.workspace, new_name):
            raise MlflowException(
                f"Registered Model (name={new_name}) already exists.", _code("RESOURCE_ALREADY_EXISTS")
            )

    def delete_registered_model(self, name: str) -> None:
        """Delete a model that no closed target needs."""
        with self._writing(name) as begun:
            changes = begun.pointers.changes_to(pointers.NONE)
            self.gate.check_deletion(begun, f"the model '{name}'", changes)
            with granted(begun, changes, {}):
                super().delete_registered_model(name)
            for request in requests.live(begun.session, begun.model.id):
                end(begun, request, State.WITHDRAWN, EventType.REQUEST_WITHDRAWN, "the model was deleted")
            identities.retire_model(begun.session, begun.model.id, begun.now)
            begun.record(EventType.MODEL_DELETED, before=_shown(begun.pointers))

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag of a model."""
        with self._writing(name) as begun:
            self._check_marker(begun, [tag])
            super().set_registered_model_tag(name, tag)
            begun.record(EventType.MODEL_UPDATED, after={"tags": {tag.key: tag.value}})

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of a model."""
        with self._writing(name) as begun:
            if key == IS_PROMPT_TAG_KEY and self._is_prompt(begun):
                self.gate.check_prompt_marker(begun, is_prompt=True)
            super().delete_registered_model_tag(name, key)
            begun.record(EventType.MODEL_UPDATED, after={"tags": {key: None}})

    # Versions

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Create a version, give it its identity, note who registered it."""
        self.gate.check_provenance(source, run_id, model_id)
        with self._writing(name) as begun:
            self._check_marker(begun, tags or [])
            created = super().create_model_version(
                name, source, run_id, tags, run_link, description, local_model_path, model_id
            )
            identities.add_version(
                begun.session,
                begun.model.id,
                int(created.version),
                created.creation_timestamp,
                begun.caller.principal.id,
            )
            after = {
                "source": source,
                "run_id": created.run_id,
                "description": description,
                "tags": {tag.key: tag.value for tag in tags or []},
            }
            begun.record(EventType.VERSION_CREATED, version=int(created.version), after=after)
            return created

    def update_model_version(self, name: str, version: str, description: str | None = None) -> ModelVersion:
        """Change a version's description."""
        with self._writing(name) as begun:
            updated = super().update_model_version(name, version, description)
            begun.record(EventType.VERSION_UPDATED, version=int(updated.version), after={"description": description})
            return updated

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """Set a tag of a version."""
        with self._writing(name) as begun:
            self._check_marker(begun, [tag])
            super().set_model_version_tag(name, version, tag)
            begun.record(EventType.VERSION_UPDATED, version=int(version), after={"tags": {tag.key: tag.value}})

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Delete a tag of a version."""
        with self._writing(name) as begun:
            super().delete_model_version_tag(name, version, key)
            begun.record(EventType.VERSION_UPDATED, version=int(version), after={"tags": {key: None}})

    def delete_model_version(self, name: str, version: str) -> None:
        """Delete a version that no closed target needs."""
        with self._writing(name) as begun:
            number = self._existing(begun, version)
            wanted = begun.pointers if number is None else begun.pointers.without_version(number)
            changes = begun.pointers.changes_to(wanted)
            self.gate.check_deletion(begun, f"version {version} of '{name}'", changes)
            with self._moving(begun, wanted, {}):
                super().delete_model_version(name, version)
            gone = identify_version(begun.session, begun.model, int(version))
            for request in requests.live(begun.session, begun.model.id):
                if request.version_id == gone.id:
                    end(
                        begun,
                        request,
                        State.WITHDRAWN,
                        EventType.REQUEST_WITHDRAWN,
                        "the version was deleted",
                    )
            identities.retire_version(begun.session, gone.id, begun.now)
            begun.record(EventType.VERSION_DELETED, version=int(version), before=_shown(begun.pointers))

    # Pointers

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Move a version to a stage: freely where no rule says otherwise, else through the gate."""
        canonical = get_canonical_stage(stage)
        if canonical in TARGET_STAGES:
            with told_by_mlflow():
                if self._gated(name, version, Target("stage", canonical)):
                    return self.get_model_version(name, version)
        with self._writing(name, Permission.PROMOTE) as begun:
            number = self._existing(begun, version)
            archive = bool(archive_existing_versions) and canonical in TARGET_STAGES
            wanted = begun.pointers if number is None else begun.pointers.with_stage(number, canonical, archive)
            changes = begun.pointers.changes_to(wanted)
            decisions = self.gate.check_direct(begun, changes)
            if not decisions:
                begun.caller.require(Permission.WRITE, name)
            # MLflow compares the version as it comes; psycopg 3, unlike 2, does not compare text to numbers.
            given: str | int = version if number is None else number
            if archive:
                _validate_model_name(name)
                given = _validate_model_version(version)
            stages = NO_STAGES if number is None else stage_moves(begun, number, canonical, archive)
            with self._moving(begun, wanted, decisions):
                moved = super().transition_model_version_stage(name, given, stage, archive_existing_versions)
            begun.record(
                EventType.TARGET_MOVED,
                version=int(moved.version),
                target=f"stage:{canonical}",
                before={**_shown(begun.pointers), **stages.before},
                after={**_shown(wanted), **stages.after},
            )
            return moved

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version: freely where no rule says otherwise, else through the gate."""
        with told_by_mlflow():
            if self._gated(name, version, Target("alias", alias)):
                return
        with self._writing(name, Permission.PROMOTE) as begun:
            number = self._existing(begun, version)
            wanted = begun.pointers if number is None else begun.pointers.with_alias(alias, number)
            changes = begun.pointers.changes_to(wanted)
            decisions = self.gate.check_direct(begun, changes)
            if not decisions:
                begun.caller.require(Permission.WRITE, name)
            if changes:
                self.gate.check_alias(begun, alias)
                # Before the move is granted: what can't be stored can't be granted either.
                _validate_model_alias_name(alias)
            with self._moving(begun, wanted, decisions):
                super().set_registered_model_alias(name, alias, version)
            if not changes:
                return
            begun.record(
                EventType.TARGET_MOVED,
                version=number,
                target=f"alias:{alias}",
                before=_shown(begun.pointers),
                after=_shown(wanted),
            )

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; a closed one only by somebody who may clear it."""
        with self._writing(name, Permission.PROMOTE) as begun:
            wanted = begun.pointers.with_alias(alias, None)
            changes = begun.pointers.changes_to(wanted)
            decisions = self.gate.check_direct(begun, changes)
            if not decisions:
                begun.caller.require(Permission.WRITE, name)
            with self._moving(begun, wanted, decisions):
                super().delete_registered_model_alias(name, alias)
            if not changes:
                return
            begun.record(
                EventType.TARGET_MOVED,
                target=f"alias:{alias}",
                before=_shown(begun.pointers),
                after=_shown(wanted),
            )

    def move(
        self,
        begun: Mutation,
        target: Target,
        version: int,
        decision_id: int,
        evidence_digest: str,
        request_id: int | None = None,
    ) -> StageMoves:
        """Carry out a decision: the target comes to hold this version and no other.

        Args:
            begun: The mutation of the version's model, in which it was decided.
            target: What moves.
            version: The version's number.
            decision_id: The decision.
            evidence_digest: The digest of the evidence that it is about.
            request_id: The request that it is about.

        Returns:
            Which versions went from which stage to which.
        """
        is_stage = target.kind == "stage"
        wanted = (
            begun.pointers.with_stage(version, target.name, archive_others=True)
            if is_stage
            else begun.pointers.with_alias(target.name, version)
        )
        changes = begun.pointers.changes_to(wanted)
        self.gate.check_side_effects(begun, target, changes)
        decisions = {change.target: decision_id for change in changes}
        stages = stage_moves(begun, version, target.name, archive_others=True) if is_stage else NO_STAGES
        with self._moving(begun, wanted, decisions, evidence_digest, request_id):
            if is_stage:
                # MLflow writes versions by their number, so it may put one in before it has taken another out.
                pointers.archive(begun.session, begun.workspace, begun.name, target.name, version)
                super().transition_model_version_stage(begun.name, version, target.name, True)
            elif not pointers.repoint(begun.session, begun.workspace, begun.name, target.name, version):
                super().set_registered_model_alias(begun.name, target.name, version)
        return stages

    def unstage(self, begun: Mutation, version: int, decisions: Mapping[Target, int]) -> StageMoves:
        """Send a version back to no stage, as was decided; return from which it went."""
        stages = stage_moves(begun, version, STAGE_NONE, archive_others=False)
        wanted = begun.pointers.with_stage(version, STAGE_NONE, archive_others=False)
        with self._moving(begun, wanted, decisions):
            super().transition_model_version_stage(begun.name, version, STAGE_NONE, False)
        return stages

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[ModelVersion]:
        """Return the latest version in each stage.

        Where production is closed, the latest archived version is the one that served it last, which is the one to
        go back to; the highest archived number may never have served. Who only serves models is given no version
        that nobody approved: `models:/name/latest` comes here without stages.
        """
        self._refuse_unseen(name)
        latest: list[ModelVersion] = super().get_latest_versions(name, stages)
        if self._only_serves(name):
            latest = self._approved(name, latest, all_stages=not stages)
        wanted = {get_canonical_stage(stage) for stage in stages or ALL_STAGES}
        if STAGE_ARCHIVED not in wanted or not any(v.current_stage == STAGE_ARCHIVED for v in latest):
            return latest
        served = self.gate.served_before(name, Target("stage", "Production"))
        if served is None:
            return latest
        before = self.get_model_version(name, str(served))
        if before.current_stage != STAGE_ARCHIVED:
            return latest
        return [before if v.current_stage == STAGE_ARCHIVED else v for v in latest]

    @staticmethod
    def _only_serves(name: str) -> bool:
        caller = current_caller().principal
        return not any(caller.may(right, name) for right in (Permission.WRITE, Permission.REVIEW, Permission.GOVERN))

    def _approved(self, name: str, latest: list[ModelVersion], all_stages: bool) -> list[ModelVersion]:
        """Return the latest version in each stage that protected targets serve, for the stages that were asked for."""
        held = self.gate.approved_holders(name)
        if held is None:
            return latest
        by_stage = {}
        for number in sorted(held):
            version = self.get_model_version(name, str(number))
            by_stage[version.current_stage] = version
        if all_stages:
            return list(by_stage.values())
        # A stage that was named holds what it holds; to have none is no approval.
        known = [by_stage.get(v.current_stage) if v.current_stage == STAGE_NONE else v for v in latest]
        return [version for version in known if version is not None]

    # Reading one: what the caller may not see is answered as if it were not there

    def get_registered_model(self, name: str) -> RegisteredModel:
        """Return a model."""
        self._refuse_unseen(name)
        return super().get_registered_model(name)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """Return a version."""
        self._refuse_unseen(name, f"Model Version (name={name}, version={version})")
        return super().get_model_version(name, version)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Return the version that an alias points to."""
        self._refuse_unseen(name)
        return super().get_model_version_by_alias(name, alias)

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        """Return where the files of a version are."""
        self._refuse_unseen(name, f"Model Version (name={name}, version={version})")
        return str(super().get_model_version_download_uri(name, version))

    @staticmethod
    def _refuse_unseen(name: str, wanted: str = "") -> None:
        with told_by_mlflow():
            if not current_caller().principal.may(Permission.READ, name):
                raise NotFound(f"{wanted or f'Registered Model with name={name}'} not found")

    # Webhooks

    def create_webhook(self, *args: Any, **kwargs: Any) -> Webhook:
        """Create one of MLflow's webhooks."""
        with self._governing() as begun:
            begin_to_tell(begun.session)
            created = super().create_webhook(*args, **kwargs)
            begun.record(EventType.WEBHOOK_CHANGED, after=_told(created))
            return created

    def update_webhook(self, webhook_id: str, *args: Any, **kwargs: Any) -> Webhook:
        """Change one of MLflow's webhooks."""
        with self._governing() as begun:
            begin_to_tell(begun.session)
            mlflow_webhooks.lock(begun.session, webhook_id)
            updated = super().update_webhook(webhook_id, *args, **kwargs)
            if updated.status.is_active():
                deliveries.resume(begun.session, updated.webhook_id, begun.now)
            else:
                deliveries.stop(begun.session, updated.webhook_id)
            begun.record(EventType.WEBHOOK_CHANGED, after=_told(updated))
            return updated

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete one of MLflow's webhooks."""
        with self._governing() as begun:
            mlflow_webhooks.lock(begun.session, webhook_id)
            super().delete_webhook(webhook_id)
            deliveries.forget(begun.session, webhook_id)
            begun.record(EventType.WEBHOOK_CHANGED, before={"webhook_id": webhook_id})

    def list_webhooks_by_event(self, *args: Any, **kwargs: Any) -> PagedList[Webhook]:
        """Return the webhooks to call on an event. They are called whoever made it happen, and see it."""
        with calling(LOCKGATE):
            return super().list_webhooks_by_event(*args, **kwargs)

    # How each of them begins and what it is held to

    @contextmanager
    def _writing(self, name: str, instead: Permission = Permission.WRITE) -> Iterator[Mutation]:
        """Begin a mutation by somebody who may write, or holds the other permission."""
        with told_by_mlflow():
            caller = current_caller()
            if not caller.principal.may(instead, name):
                caller.require(Permission.WRITE, name)
            with self.mutation(name) as begun:
                yield begun

    @contextmanager
    def _governing(self) -> Iterator[Mutation]:
        with told_by_mlflow():
            current_caller().require(Permission.GOVERN)
            with self.mutation("") as begun:
                yield begun

    def _gated(self, name: str, version: str, target: Target) -> bool:
        """Ask the gate if this call would bring another version into a closed target."""
        try:
            with self.ManagedSessionMaker() as session:
                number = int(self._get_sql_model_version(session, name, version).version)
                held = pointers.read(session, self.workspace, name).of(target)
        except MlflowException as error:
            if isinstance(error.__cause__, SQLAlchemyError):
                raise
            return False  # MLflow's own method says what is wrong with the name or version.
        if not self.gate.is_closed(name, target):
            self.gate.observe(name, number, target)
            return False
        if held == {number} and current_caller().principal.may(Permission.PROMOTE, name):
            return True  # It is there already; whoever carried it out may ask again.
        if number in held:
            return False
        self.gate.ask(name, number, target)
        return True

    def _check_marker(self, begun: Mutation, tags: Sequence[RegisteredModelTag | ModelVersionTag]) -> None:
        """Refuse MLflow's prompt marker on what is no prompt, and its removal from what is one."""
        marked = [tag for tag in tags if tag.key == IS_PROMPT_TAG_KEY]
        if begun.found is None or not marked:
            return
        is_prompt = self._is_prompt(begun)
        if has_prompt_tag(marked) is not is_prompt:
            self.gate.check_prompt_marker(begun, is_prompt)

    def _is_prompt(self, begun: Mutation) -> bool:
        return begun.found is not None and bool(has_prompt_tag(self.get_registered_model(begun.name)._tags))

    def _existing(self, begun: Mutation, version: str) -> int | None:
        """Return a version's number, or None where MLflow's own method will say what is wrong with it."""
        try:
            return int(self._get_sql_model_version(begun.session, begun.name, version).version)
        except MlflowException:
            return None

    @contextmanager
    def _moving(
        self,
        begun: Mutation,
        wanted: Pointers,
        decisions: Mapping[Target, int],
        evidence_digest: str = "",
        request_id: int | None = None,
    ) -> Iterator[None]:
        """Let the block move a model's pointers to where they are wanted, and nowhere else."""
        changes = begun.pointers.changes_to(wanted)
        with granted(begun, changes, decisions, evidence_digest):
            yield
            self._check_moved(begun, wanted)
        settle(begun, changes, request_id)

    def _check_moved(self, begun: Mutation, wanted: Pointers) -> None:
        begun.session.flush()
        if pointers.read(begun.session, begun.workspace, begun.name).changes_to(wanted):
            raise Refused("MLflow moved other pointers than was decided, so nothing was changed. Please report this.")


class WorkspaceGovernedStore(GovernedStore, WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]
    """The same where MLflow's workspaces are enabled."""


def _refuse_unknown_writes() -> Never:
    raise MlflowException(
        "This change did not come through Lockgate's gate, so it is refused. If it is a feature of MLflow that "
        "you need, please report it.",
        _code("PERMISSION_DENIED"),
    )


def _code(name: str) -> int:
    # Protobuf enumerations have no type stubs.
    from_name: int = ErrorCode.Value(name)
    return from_name


def _shown(held: Pointers) -> Mapping[str, list[int]]:
    return {str(target): sorted(versions) for target, versions in held.holders.items() if versions}


def _told(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": webhook.webhook_id,
        "name": webhook.name,
        "events": [str(event) for event in webhook.events],
    }
