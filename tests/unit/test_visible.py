"""Nothing that MLflow stores is shown because nobody thought of it."""

import threading

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.dbmodels import models as registry
from mlflow.store.tracking.dbmodels import models as tracking

from lockgate.access.principals import LOCKGATE, calling
from lockgate.access.sight import Sight
from lockgate.registry.visible import UNLIMITED, current_sight, in_registry, in_tracking


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_every_class_that_mlflow_maps_is_limited_or_says_why_not(dialect: str) -> None:
    sight = Sight((("a-*",),))
    limited = {kind for kind, _ in (*in_registry(dialect, sight), *in_tracking(dialect, sight))}
    mapped = {mapper.class_ for base in (tracking.Base, registry.Base) for mapper in base.registry.mappers}
    assert mapped - limited - UNLIMITED.keys() == set(), "say in registry/visible.py who may see these"
    assert (limited | UNLIMITED.keys()) - mapped == set()
    assert limited & UNLIMITED.keys() == set()


def test_in_a_thread_in_which_nobody_calls_nothing_is_read() -> None:
    said = []

    def look() -> None:
        try:
            current_sight()
        except MlflowException as error:
            said.append(error.error_code)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert said == ["UNAUTHENTICATED"]
    with calling(LOCKGATE):
        assert current_sight() is None
