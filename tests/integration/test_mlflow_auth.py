"""MLflow's own authentication is not for Lockgate, and nothing of it runs there."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tests.house import House

SEARCH = "/api/2.0/mlflow/runs/search"


def test_searching_runs_loads_nothing_of_it(tmp_path: Path) -> None:
    """It needs Flask-WTF, so who loads it comes by here; without it, it would be loaded anew for each search."""
    there = tmp_path / "flask_wtf"
    there.mkdir()
    (there / "__init__.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w').close()\nraise ImportError\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    backend = f"sqlite:///{tmp_path}/mlflow.db"
    with closing(House(tmp_path / "house", backend, environment={"PYTHONPATH": path})) as house:
        house.open()
        client = house.http("ada")
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: client.post(SEARCH, json={"experiment_ids": ["0"]}), range(32)))
        graphql = client.post(
            "/graphql",
            json={"query": '{ mlflowSearchRuns(input: {experimentIds: ["0"]}) { runs { info { runId } } } }'},
        )
    assert {answer.status_code for answer in [*answers, graphql]} == {200}
    assert not (tmp_path / "loaded").exists()
