"""For any names and patterns: walking all pages gives exactly the names that may be seen, once each, in full pages."""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mlflow.store.entities import PagedList
from sqlalchemy import Connection, delete, insert

from lockgate.access.principals import Caller, Principal, calling
from lockgate.access.roles import Role, RoleBinding
from lockgate.database.engine import real_uri
from lockgate.registry.authorship import Authorship
from lockgate.registry.mlflow_tables import experiments, model_versions, registered_models, runs
from lockgate.registry.store import GovernedStore
from lockgate.registry.tracking import GovernedTrackingStore
from lockgate.workflow.gate import PolicyGate
from tests.conftest import BACKENDS

# Small, so that names and patterns meet, with what GLOB, LIKE and regular expressions take for something else.
_CHARACTERS = "aAb_%-]!^\\.é"
_names = st.lists(st.text(_CHARACTERS, min_size=1, max_size=4), unique=True, max_size=7)
_patterns = st.lists(st.text(_CHARACTERS + "**??[[", max_size=5), min_size=1, max_size=3)


class Shelf:
    """A registry and a tracking store on a database of their own, filled with models, experiments and runs."""

    def __init__(self, uri: str, artifacts: str) -> None:
        self.registry = GovernedStore(real_uri(uri), PolicyGate())
        authorship = Authorship(self.registry.engine, artifacts)
        with calling(Caller(Principal(1, "root", bindings=(RoleBinding(Role.ADMIN),)))):
            self.tracking = GovernedTrackingStore(real_uri(uri), artifacts, authorship)

    def fill(self, names: list[str]) -> None:
        """Hold these names and no others."""
        with self.registry.engine.begin() as connection:
            for table in (runs, experiments, model_versions, registered_models):
                connection.execute(delete(table))
            for number, name in enumerate(names, 1):
                self._add(connection, number, name)

    def _add(self, connection: Connection, number: int, name: str) -> None:
        of = {"workspace": "default", "name": name}
        connection.execute(insert(registered_models).values(**of, creation_time=1, last_updated_time=1))
        version = {"version": 1, "creation_time": 1, "last_updated_time": 1, "current_stage": "None", "source": "s"}
        connection.execute(insert(model_versions).values(**of, **version, run_id="r"))
        connection.execute(insert(experiments).values(**of, experiment_id=number, lifecycle_stage="active"))
        ran = {
            "experiment_id": number,
            "name": name,
            "lifecycle_stage": "active",
            "status": "FINISHED",
            "start_time": 1,
        }
        connection.execute(insert(runs).values(**ran, run_uuid=f"run{number}", artifact_uri="a", user_id="u"))


Search = Callable[[Shelf, int, str | None], PagedList[Any]]
_EVERY_EXPERIMENT = [str(number) for number in range(1, 8)]

SEARCHES: dict[str, tuple[Search, Callable[[Any], str]]] = {
    "models": (
        lambda shelf, size, token: shelf.registry.search_registered_models(max_results=size, page_token=token),
        lambda found: found.name,
    ),
    "versions": (
        lambda shelf, size, token: shelf.registry.search_model_versions("run_id = 'r'", size, page_token=token),
        lambda found: found.name,
    ),
    "experiments": (
        lambda shelf, size, token: shelf.tracking.search_experiments(max_results=size, page_token=token),
        lambda found: found.name,
    ),
    "runs": (
        lambda shelf, size, token: shelf.tracking.search_runs(_EVERY_EXPERIMENT, "", 1, size, None, token),
        lambda found: found.info.run_name,
    ),
}


@pytest.fixture(scope="module", params=BACKENDS)
def shelf(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shelf]:
    opened = Shelf(new_database(request.param), str(tmp_path_factory.mktemp("artifacts")))
    yield opened
    opened.registry.engine.dispose()
    opened.tracking.engine.dispose()


def walk(search: Search, shelf: Shelf, size: int) -> list[list[Any]]:
    pages, token = [], None
    while True:
        page = search(shelf, size, token)
        pages.append(list(page))
        token = page.token
        if not token:
            return pages


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(_names, _patterns, st.integers(1, 4))
@example(["a", "A", "ab", "a_b", "axb"], ["a_*"], 1)
@example(["a%", "ab", "\\a", "]", "^"], ["[]^]", "\\*", "a%"], 2)
@example(["a", "b"], ["*"], 1)
def test_pages_hold_what_may_be_seen(shelf: Shelf, names: list[str], patterns: list[str], size: int) -> None:
    shelf.fill(names)
    ann = Principal(7, "ann", bindings=tuple(RoleBinding(Role.VIEWER, pattern) for pattern in patterns))
    visible = sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
    with calling(Caller(ann)):
        for search, name_of in SEARCHES.values():
            pages = walk(search, shelf, size)
            assert sorted(name_of(one) for page in pages for one in page) == visible
            assert all(len(page) == size for page in pages[:-1])
            assert pages[-1] or not visible
