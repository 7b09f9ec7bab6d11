"""Versions with files to attack, and what attacks on them are measured by."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.house import House

FILES = {"MLmodel": "flavors: {}\n", "data/weights.bin": "a" * 100}
PRODUCTION = "stage:Production"


@dataclass(frozen=True)
class Bait:
    """A version whose files are in its run's folder."""

    house: House
    model: str
    run_id: str

    @property
    def folder(self) -> Path:
        return self.house.folder / "mlartifacts" / "0" / self.run_id / "artifacts" / "model"

    @property
    def files(self) -> dict[str, str]:
        return {str(f.relative_to(self.folder)): f.read_text() for f in sorted(self.folder.rglob("*")) if f.is_file()}

    def approved(self, target: str = PRODUCTION) -> dict[str, Any]:
        asked = self.house.ask(self.model, "1", target)
        given: dict[str, Any] = self.house.call("sue", "POST", f"/requests/{asked['id']}/approve", {})
        assert given["state"] == "approved"
        return given


def bait(house: House, by: str = "ada", source: str = "runs:/{run}/model") -> Bait:
    """Register a version whose files are good."""
    run_id = good_run(house, by)
    model = f"bait-{secrets.token_hex(6)}"
    with house.acting_as(by) as client:
        client.create_registered_model(model)
        client.create_model_version(model, source.format(run=run_id), run_id, await_creation_for=0)
    return Bait(house, model, run_id)


def good_run(house: House, by: str = "ada", auc: float = 0.99) -> str:
    with house.acting_as(by) as client:
        run_id: str = client.create_run("0").info.run_id
        client.log_metric(run_id, "val_auc", auc)
        for path, text in FILES.items():
            client.log_text(run_id, text, f"model/{path}")
    return run_id


def refusals(house: House, model: str, action: str) -> list[dict[str, Any]]:
    """Return what the audit log has of refused actions on a model."""
    entries = house.call("admin", "GET", f"/audit?model={model}&max_results=200")["entries"]
    return [e for e in entries if e["action"] == action and e["outcome"] == "refused"]


def request_state(house: House, asked: dict[str, Any]) -> str:
    return str(house.call("vic", "GET", f"/requests/{asked['id']}")["state"])
