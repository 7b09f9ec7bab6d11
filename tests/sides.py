"""One of each of MLflow's things, within a pattern and outside it, and people whose roles are bound to the pattern."""

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from tests.house import House

INSIDE, OUTSIDE = "inside", "outside"

#: Each class of principals: the roles, and whether it is active.
CLASSES: dict[str, list[str]] = {
    "viewer": ["viewer"],
    "contributor": ["contributor"],
    "bounded": ["contributor:inside-*"],
    "seeing": ["viewer", "contributor:inside-*"],
    "reviewer": ["reviewer"],
    "releaser": ["releaser"],
    "operator": ["operator"],
    "maintainer": ["maintainer"],
    "gone": ["contributor"],
}


def let_in(house: House, prefix: str) -> dict[str, httpx.Client]:
    """Let one of each class in."""
    clients = {"anonymous": house.http(None)}
    for name, roles in CLASSES.items():
        who = f"{prefix}-{name}"
        house.call("admin", "POST", "/principals", {"name": who, "roles": roles})
        house.tokens[who] = house.call("admin", "POST", "/tokens", {"principal": who})["token"]
        clients[name] = house.http(who)
    # No second admin: the house is shared with tests of the last one.
    clients["admin"] = house.http("admin")
    house.call("admin", "PATCH", f"/principals/{prefix}-gone", {"active": False})
    return clients


@dataclass(frozen=True)
class Side:
    """One of each thing, in an experiment whose name begins with `where`."""

    where: str
    experiment: str
    experiment_name: str
    deleted_experiment: str
    run: str
    deleted_run: str
    logged_model: str
    trace: str
    assessment: str
    dataset: str
    model: str
    file: str

    @property
    def new(self) -> str:
        """A name that nothing has yet, on the same side."""
        return f"{self.where}-{secrets.token_hex(4)}"


def trace_info(experiment: str, trace: str) -> dict[str, Any]:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": place, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    return {"trace": {"trace_info": info | {"tags": {"k": "v"}}}}


def assessment(trace: str) -> dict[str, Any]:
    feedback = {"value": True}
    return {
        "assessment": {
            "assessment_name": "good", "trace_id": trace, "source": {"source_type": "HUMAN", "source_id": "ada"},
            "create_time": "2026-01-01T00:00:00Z", "last_update_time": "2026-01-01T00:00:00Z", "feedback": feedback,
        }
    }  # fmt: skip


def furnish(house: House, where: str, by: str = "admin") -> Side:
    """Make one of each thing."""
    client = house.http(by)

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = client.post(f"/api/{path}", json=body)
        assert answer.is_success, f"{path}: {answer.text}"
        made: dict[str, Any] = answer.json()
        return made

    name, model, trace = (f"{where}-{secrets.token_hex(4)}" for _ in range(3))
    made = post("2.0/mlflow/experiments/create", {"name": name, "tags": [{"key": "k", "value": "v"}]})["experiment_id"]
    deleted = post("2.0/mlflow/experiments/create", {"name": f"{name}-deleted"})["experiment_id"]
    post("2.0/mlflow/experiments/delete", {"experiment_id": deleted})
    run, gone = (
        post("2.0/mlflow/runs/create", {"experiment_id": made, "tags": [{"key": "k", "value": "v"}]})["run"]["info"][
            "run_id"
        ]
        for _ in range(2)
    )
    post("2.0/mlflow/runs/delete", {"run_id": gone})
    tags = [{"key": "k", "value": "v"}]
    logged = post("2.0/mlflow/logged-models", {"experiment_id": made, "name": "m", "tags": tags})["model"]["info"][
        "model_id"
    ]
    trace = f"tr-{trace}"
    post("3.0/mlflow/traces", trace_info(made, trace))
    judged = post(f"3.0/mlflow/traces/{trace}/assessments", assessment(trace))["assessment"]["assessment_id"]
    dataset = post("3.0/mlflow/datasets/create", {"name": name, "experiment_ids": [made], "tags": '{"k": "v"}'})[
        "dataset"
    ]
    post("2.0/mlflow/registered-models/create", {"name": model, "tags": tags})
    version = {"name": model, "source": f"runs:/{run}/model", "run_id": run, "tags": tags}
    post("2.0/mlflow/model-versions/create", version)
    post("2.0/mlflow/registered-models/alias", {"name": model, "alias": "shadow", "version": "1"})
    file = f"{made}/{run}/artifacts/model/f.txt"
    for path in (file, f"{made}/models/{logged}/artifacts/f.txt"):
        client.put(f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=b"x").raise_for_status()
    return Side(
        where, made, name, deleted, run, gone, logged, trace, judged, dataset["dataset_id"], model, file
    )  # fmt: skip
