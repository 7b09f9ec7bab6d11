"""The thin twin over MLflow's tracking store: it notes who makes and changes runs, and is bounded by the caller's roles
(`lockgate.registry.bounds`).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from mlflow.entities import Experiment, LoggedModel, Metric, Param, Run, RunInfo, RunTag, Span, TraceInfo
from mlflow.entities.dataset_record import DatasetRecord
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.store.tracking import SEARCH_TRACES_DEFAULT_MAX_RESULTS
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.uri import append_to_uri_path
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lockgate.access.principals import LOCKGATE, calling
from lockgate.registry.authorship import LOGGED_MODEL, RUN, Authorship, logged_models_in
from lockgate.registry.bounds import bounded, may_write, refuse_unknown_writes, visible
from lockgate.registry.filters import bounded_searches
from lockgate.registry.places import real_place
from lockgate.registry.sealing import Serving
from lockgate.registry.searching import check_cursor, checking_page_tokens, ends_at_last, visible_experiments
from lockgate.registry.touches import Kind
from lockgate.registry.transaction import joining, reading_apart, told_by_mlflow
from lockgate.registry.visible import in_tracking, showing

_TRACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


def _check_trace_id(trace_id: str) -> None:
    if not _TRACE_ID.fullmatch(trace_id):
        raise MlflowException.invalid_parameter_value(
            "The id of a trace has letters, digits and . _ : - only, and begins with a letter or digit, such as "
            "tr-0123456789abcdef0123456789abcdef."
        )


@bounded
@bounded_searches
@checking_page_tokens
class GovernedTrackingStore(SqlAlchemyStore):  # type: ignore[misc]
    """MLflow's SQL tracking store; every write has a known author.

    Args:
        db_uri: The database, as `lockgate.database.engine.real_uri` returns it.
        artifact_root: Where new experiments keep their artifacts.
        authorship: Where authors are noted.
        read_db_uri: A replica for reads, as MLflow has it.
    """

    def __init__(self, db_uri: str, artifact_root: str, authorship: Authorship, read_db_uri: str | None = None) -> None:
        self.authorship = authorship
        super().__init__(db_uri, artifact_root, read_db_uri=read_db_uri)
        apart = reading_apart(self.engine, vars(self)["ManagedSessionMaker"], self.read_engine)
        self.ManagedSessionMaker = joining(self.engine, showing(apart, in_tracking), refuse_unknown_writes)

    # Searches

    def search_traces(
        self,
        experiment_ids: list[str] | None = None,
        filter_string: str | None = None,
        max_results: int = SEARCH_TRACES_DEFAULT_MAX_RESULTS,
        order_by: list[str] | None = None,
        page_token: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[list[TraceInfo], str | None]:
        """Search traces."""

        def search(limit: int, token: str | None) -> tuple[list[TraceInfo], str | None]:
            found: tuple[list[TraceInfo], str | None] = super(GovernedTrackingStore, self).search_traces(
                experiment_ids, filter_string, limit, order_by, token, *args, **kwargs
            )
            return found

        return ends_at_last(search(max_results, page_token), lambda token: search(1, token))

    def _load_dataset_records(
        self, dataset_id: str, max_results: int | None = None, page_token: str | None = None
    ) -> tuple[list[DatasetRecord], str | None]:
        check_cursor(page_token)
        page: tuple[list[DatasetRecord], str | None] = super()._load_dataset_records(
            dataset_id, max_results, page_token
        )
        return page

    def _filter_experiment_ids(self, session: Session, *args: Any, **kwargs: Any) -> Sequence[Any]:
        # Where MLflow asks by experiment, also in statements of its own that no mapped class is in.
        return visible_experiments(session, super()._filter_experiment_ids(session, *args, **kwargs))

    def _by_caller(self, kind: str, thing: str | None) -> None:
        with told_by_mlflow():
            self.authorship.note(kind, thing)

    # Experiments

    def get_experiment_by_name(self, experiment_name: str) -> Experiment | None:
        """Return the experiment of a name, if there is one that the caller may see."""
        found = super().get_experiment_by_name(experiment_name)
        return found if found is None or visible(self, Kind.NAME, [found.name]) else None

    def create_experiment(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Create an experiment."""
        try:
            return str(super().create_experiment(name, *args, **kwargs))
        except MlflowException as error:
            if not isinstance(error.__context__, IntegrityError):
                raise
            # MLflow quotes the statement and its values.
            raise MlflowException(f"Experiment(name={name}) already exists.", RESOURCE_ALREADY_EXISTS) from error

    # Traces: the id that a client chooses becomes a part of the path where the trace's files are.

    def start_trace(self, trace_info: TraceInfo) -> TraceInfo:
        """Create a trace, or what is known of it so far."""
        _check_trace_id(trace_info.trace_id)
        return super().start_trace(trace_info)

    def log_spans(self, location: str, spans: Sequence[Span], *args: Any, **kwargs: Any) -> list[Span]:
        """Log spans of traces."""
        for span in spans:
            _check_trace_id(span.trace_id)
        logged: list[Span] = super().log_spans(location, spans, *args, **kwargs)
        return logged

    # Runs

    def create_run(self, *args: Any, **kwargs: Any) -> Run:
        """Create a run; the caller is its author."""
        created = super().create_run(*args, **kwargs)
        self._by_caller(RUN, created.info.run_id)
        return created

    def update_run_info(self, run_id: str, *args: Any, **kwargs: Any) -> RunInfo:
        """Change a run's status, end or name."""
        self._by_caller(RUN, run_id)
        return super().update_run_info(run_id, *args, **kwargs)

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """Log a metric."""
        self._by_caller(RUN, run_id)
        super().log_metric(run_id, metric)

    def log_param(self, run_id: str, param: Param) -> None:
        """Log a parameter."""
        self._by_caller(RUN, run_id)
        super().log_param(run_id, param)

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        """Set a tag."""
        self._by_caller(RUN, run_id)
        super().set_tag(run_id, tag)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag."""
        self._by_caller(RUN, run_id)
        super().delete_tag(run_id, key)

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        """Log metrics, parameters and tags."""
        self._by_caller(RUN, run_id)
        super().log_batch(run_id, metrics, params, tags)

    def log_inputs(self, run_id: str, *args: Any, **kwargs: Any) -> None:
        """Log datasets and models that the run used."""
        self._by_caller(RUN, run_id)
        super().log_inputs(run_id, *args, **kwargs)

    def log_outputs(self, run_id: str, *args: Any, **kwargs: Any) -> None:
        """Log models that the run made."""
        self._by_caller(RUN, run_id)
        super().log_outputs(run_id, *args, **kwargs)

    def record_logged_model(self, run_id: str, *args: Any, **kwargs: Any) -> None:
        """Record a model that the run logged."""
        self._by_caller(RUN, run_id)
        super().record_logged_model(run_id, *args, **kwargs)

    # What is behind a version that serves is not deleted

    def delete_run(self, run_id: str) -> None:
        """Delete a run that no protected target needs."""
        self._refuse_if_serving(f"Run {run_id}", lambda serving: self._is_of_run(serving, run_id))
        self._by_caller(RUN, run_id)
        super().delete_run(run_id)

    def delete_experiment(self, experiment_id: str) -> None:
        """Delete an experiment whose runs and logged models no protected target needs."""
        self._refuse_if_serving(
            f"Experiment {experiment_id}", lambda serving: self._is_in_experiment(serving, str(experiment_id))
        )
        super().delete_experiment(experiment_id)

    def delete_logged_model(self, model_id: str) -> None:
        """Delete a logged model that no protected target needs."""
        self._refuse_if_serving(f"Logged model {model_id}", lambda serving: self._is_of_model(serving, model_id))
        self._by_caller(LOGGED_MODEL, model_id)
        super().delete_logged_model(model_id)

    def _refuse_if_serving(self, what: str, is_behind: Callable[[Serving], bool]) -> None:
        with told_by_mlflow():
            self.authorship.refuse_if_serving(what, _whoever_calls(is_behind))

    def _is_of_run(self, serving: Serving, run_id: str) -> bool:
        return run_id == serving.run_id or any(run_id in location.split("/") for location in serving.locations)

    def _is_of_model(self, serving: Serving, model_id: str) -> bool:
        if model_id in logged_models_in(serving.locations):
            return True
        try:
            logged = self.get_logged_model(model_id)
        except MlflowException:
            return False  # MLflow's own method says so.
        # `runs:/RUN/NAME` is the logged model of that name, without naming it.
        return (logged.source_run_id, logged.name) in map(_run_and_folder, serving.locations)

    def _is_in_experiment(self, serving: Serving, experiment_id: str) -> bool:
        behind = [self._of_run(serving.run_id), *map(self._of_model, logged_models_in(serving.locations))]
        return experiment_id in behind

    def _of_run(self, run_id: str) -> str | None:
        try:
            return str(self.get_run(run_id).info.experiment_id) if run_id else None
        except MlflowException:
            return None

    def _of_model(self, model_id: str) -> str | None:
        try:
            return str(self.get_logged_model(model_id).experiment_id)
        except MlflowException:
            return None

    # Logged models

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> LoggedModel:
        """Create a logged model; the caller is its author."""
        with told_by_mlflow():
            self._refuse_to_cover(name, source_run_id)
        created = super().create_logged_model(experiment_id, name, source_run_id, *args, **kwargs)
        self._by_caller(LOGGED_MODEL, created.model_id)
        return created

    def _refuse_to_cover(self, name: str | None, run_id: str | None) -> None:
        """Refuse a logged model under whose name `runs:/RUN/NAME` would come to be other files than were approved.

        MLflow lays the newest logged model of that name over the run's own folder.
        """
        if not name or not run_id:
            return
        try:
            with calling(LOCKGATE):  # where files are does not depend on who asks
                folder = append_to_uri_path(self.get_run(run_id).info.artifact_uri, name)
        except MlflowException:
            return  # MLflow's own method says what is wrong with the run or the name.
        # Also of what lies below: `runs:/RUN/NAME/folder` is covered by the same model.
        self.authorship.refuse_if_sealed(real_place(self, str(folder)), and_below=True)

    def finalize_logged_model(self, model_id: str, *args: Any, **kwargs: Any) -> LoggedModel:
        """Mark a logged model as complete."""
        self._by_caller(LOGGED_MODEL, model_id)
        return super().finalize_logged_model(model_id, *args, **kwargs)

    def log_logged_model_params(self, model_id: str, *args: Any, **kwargs: Any) -> None:
        """Log parameters of a logged model."""
        self._by_caller(LOGGED_MODEL, model_id)
        super().log_logged_model_params(model_id, *args, **kwargs)

    def set_logged_model_tags(self, model_id: str, *args: Any, **kwargs: Any) -> None:
        """Set tags of a logged model."""
        self._by_caller(LOGGED_MODEL, model_id)
        super().set_logged_model_tags(model_id, *args, **kwargs)

    def set_model_versions_tags(self, name: str, version: str, model_id: str) -> None:
        """Tell a logged model of a version that was registered from it, where the caller may write to it.

        MLflow does so after it has registered the version, which stands anyway.
        """
        if may_write(self, Kind.LOGGED_MODEL, model_id):
            super().set_model_versions_tags(name, version, model_id)


class WorkspaceGovernedTrackingStore(GovernedTrackingStore, WorkspaceAwareSqlAlchemyStore):  # type: ignore[misc]
    """The same where MLflow's workspaces are enabled."""


def _run_and_folder(location: str) -> tuple[str, str] | None:
    """Return the run and the first folder below it that a `runs:/` location names."""
    if urlsplit(location).scheme != "runs":
        return None
    run_id, path = RunsArtifactRepository.parse_runs_uri(location)
    return run_id, (path or "").partition("/")[0]


def _whoever_calls(is_behind: Callable[[Serving], bool]) -> Callable[[Serving], bool]:
    """What is behind a version is behind it, whether or not the caller sees that."""

    def ask(serving: Serving) -> bool:
        with calling(LOCKGATE):
            return is_behind(serving)

    return ask
