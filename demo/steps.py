"""What people do in the story. Each step says what it does and checks that it did."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.exceptions import RestException

from demo import narrator
from demo.stage import Stage, WentWrong
from demo.train import MODEL, Data, Recipe, Trained, agreement, train_and_register

CHAMPION = "alias:champion"
CHECK = "staging-validation"
_GOOD_ENOUGH = 0.9


def expect(truth: bool, otherwise: str) -> None:
    """Stop the demo if something is not as the story says."""
    if not truth:
        raise WentWrong(otherwise)


@dataclass
class Steps:
    """The steps, on a stage.

    Args:
        stage: The server and its people.
        data: What models are trained on and judged by.
    """

    stage: Stage
    data: Data

    # With the mlflow client

    def train(self, who: str, recipe: Recipe) -> Trained:
        """Train and register a model, and check that the server has what was measured."""
        config = ", ".join(f"{key}={value}" for key, value in recipe.config.items())
        narrator.does(
            who,
            f"mlflow.sklearn.log_model(RandomForestClassifier({config}), "
            f'registered_model_name="{MODEL}", input_example=...)',
        )
        with (
            narrator.waiting("MLflow writes the model down, with what it requires"),
            self.stage.mlflow_as(who) as client,
        ):
            mlflow.set_experiment("fraud-detection")
            trained = train_and_register(self.data, recipe)
            kept = client.get_run(trained.run_id).data
            version = client.get_model_version(MODEL, trained.version)
        expect(kept.metrics == trained.metrics, f"The run has other metrics: {kept.metrics}, not {trained.metrics}.")
        expect({"data_version", "git_commit"} <= kept.tags.keys(), f"The run lacks tags: it has {kept.tags}.")
        expect(version.run_id == trained.run_id, f"The version names another run: {version.run_id}.")
        measured = ", ".join(f"{name} {value:.4g}" for name, value in trained.metrics.items())
        narrator.answers(f"{MODEL} version {trained.version}: {measured}")
        return trained

    def describe(self, who: str, trained: Trained, recipe: Recipe) -> None:
        """Say what a version is."""
        auc = trained.metrics["val_auc"]
        text = f"Trained on {recipe.rows} rows of data {recipe.data_version}. Val AUC: {auc:.4f}."
        narrator.does(who, f'client.update_model_version("{MODEL}", "{trained.version}", description="{text}")')
        with self.stage.mlflow_as(who) as client:
            described = client.update_model_version(MODEL, trained.version, description=text)
        expect(described.description == text, "The description was not kept.")
        narrator.answers("described")

    def refused_transition(self, who: str, trained: Trained, stage: str, because: Iterable[str]) -> dict[str, Any]:
        """Try to move a version to a stage, which must be refused; return the refusal's details."""
        before = self._stage_of(trained)
        refusal = self._refused_call(
            who,
            f'client.transition_model_version_stage("{MODEL}", "{trained.version}", "{stage}")',
            lambda client: client.transition_model_version_stage(MODEL, trained.version, stage),
            because,
        )
        after = self._stage_of(trained)
        expect(after == before, f"The call was refused, and all the same moved the version from {before} to {after}.")
        return refusal

    def _refused_call(
        self, who: str, shown: str, call: Callable[[MlflowClient], object], because: Iterable[str]
    ) -> dict[str, Any]:
        narrator.does(who, shown)
        with self.stage.mlflow_as(who) as client:
            try:
                call(client)
            except RestException as error:
                refusal = error
            else:
                raise WentWrong("The call should have been refused, and was not.")
        status = refusal.get_http_status_code()
        expect((status, refusal.error_code) == (403, "PERMISSION_DENIED"), f"The call failed otherwise: {refusal}")
        unsaid = [word for word in because if word not in refusal.message]
        expect(not unsaid, f"The refusal does not mention {', '.join(unsaid)}: {refusal}")
        details: dict[str, Any] = refusal.json.get("details") or {}
        narrator.refused(f"{status} {refusal.error_code}", details.get("unmet") or [refusal.message])
        return details

    def _stage_of(self, trained: Trained) -> str:
        with self.stage.mlflow_as("dana") as client:
            return str(client.get_model_version(MODEL, trained.version).current_stage)

    def stage_by_ci(self, trained: Trained) -> None:
        """Move a version to Staging, by CI's unmodified call."""
        narrator.does("ci", f'client.transition_model_version_stage("{MODEL}", "{trained.version}", "Staging")')
        with self.stage.mlflow_as("ci") as client:
            client.transition_model_version_stage(MODEL, trained.version, "Staging")
        stage = self._stage_of(trained)
        expect(stage == "Staging", f"The version is in {stage}, not in Staging.")
        narrator.answers(f"version {trained.version} is in Staging")

    def set_champion(self, who: str, trained: Trained) -> None:
        """Move the alias by MLflow's own call, which carries the approved request out."""
        narrator.does(who, f'client.set_registered_model_alias("{MODEL}", "champion", "{trained.version}")')
        with self.stage.mlflow_as(who) as client:
            client.set_registered_model_alias(MODEL, "champion", trained.version)
        request = self._request_for(trained)
        expect(request["state"] == "promoted", f"The alias was set and the request is {request['state']}.")
        narrator.answers(f"request {request['id']} is {request['state']}: {request['outcome']}")

    def serve(self, trained: Trained) -> None:
        """Load the champion; check that it is a certain version and predicts as that did when it was trained."""
        uri = f"models:/{MODEL}@champion"
        narrator.does("release-bot", f'mlflow.pyfunc.load_model("{uri}").predict(rows)')
        with self.stage.mlflow_as("release-bot") as client:
            champion = client.get_model_version_by_alias(MODEL, "champion")
        expect(str(champion.version) == trained.version, f"The champion is version {champion.version}.")
        right = self._predictions(uri, "release-bot", trained)
        narrator.answers(f"version {champion.version}, {right}")

    def _predictions(self, uri: str, who: str, trained: Trained) -> str:
        with self.stage.mlflow_as(who):
            served = mlflow.pyfunc.load_model(uri).predict(self.data.x_val)
        same = agreement(served, trained.model.predict(self.data.x_val))
        expect(same == 1.0, f"{uri} predicts otherwise than version {trained.version} did: {same:.1%} the same.")
        right = agreement(served, self.data.y_val)
        expect(right >= _GOOD_ENOUGH, f"{uri} is right in {right:.1%} of rows only.")
        return f"{right:.1%} of {len(served)} unseen rows right"

    # With Lockgate's commands

    def validate_by_ci(self, trained: Trained) -> None:
        """Try the staged model as production would use it, and report how that went."""
        uri = f"models:/{MODEL}/Staging"
        narrator.does("ci", f'mlflow.pyfunc.load_model("{uri}").predict(rows)')
        found = self._predictions(uri, "ci", trained)
        narrator.answers(found)
        reported = self.command(
            "ci", "check", MODEL, trained.version, CHECK, "--status", "success", "--summary", found
        )  # fmt: skip
        expect(reported["status"] == "success", f"The check of version {trained.version} is {reported['status']}.")
        narrator.answers(f"{reported['reporter']} reported {reported['name']}: {reported['status']}")

    def ask(self, who: str, trained: Trained) -> dict[str, Any]:
        """Ask that the champion become a version; all but the approval must be there."""
        request: dict[str, Any] = self.command(who, "request", MODEL, trained.version, CHAMPION)
        expect(request["state"] == "open", f"The request is {request['state']} before anybody approved it.")
        outcomes = {gate["name"]: gate["outcome"] for gate in request["gates"]}
        expect(set(outcomes.values()) == {"passed"}, f"Not all gates pass: {outcomes}")
        expect(len(request["unmet"]) == 1, f"More is missing than the approval: {request['unmet']}")
        narrator.answers(f"request {request['id']} is {request['state']}")
        narrator.gates(request["gates"])
        narrator.missing(request["unmet"])
        return request

    def approve(self, who: str, request: dict[str, Any], comment: str) -> None:
        """Approve a request."""
        approved = self.command(who, "approve", str(request["id"]), "--comment", comment)
        expect(approved["state"] == "approved", f"After the approval the request is {approved['state']}.")
        expect(not approved["unmet"], f"After the approval there is still missing: {approved['unmet']}")
        digest = approved["evidence"]["digest"]
        narrator.answers(f"request {approved['id']} is {approved['state']}, on the evidence {digest[:19]}…")

    def promote(self, who: str, request: dict[str, Any]) -> None:
        """Carry out a request."""
        done = self.command(who, "promote", str(request["id"]))
        expect(done["state"] == "promoted", f"The request is {done['state']}, not promoted.")
        narrator.answers(f"request {done['id']} is {done['state']}: {done['outcome']}")

    def command(self, who: str, *arguments: str) -> Any:
        """Run a command that must succeed; return its JSON."""
        narrator.does(who, f"lockgate {shlex.join(arguments)}")
        return self._json(who, *arguments)

    def refused_command(self, who: str, *arguments: str, because: str) -> None:
        """Run a command that must be refused, for a reason."""
        narrator.does(who, f"lockgate {shlex.join(arguments)}")
        outcome = self.stage.lockgate(who, *arguments)
        expect(outcome.code == 1, f"The command should be refused and ended with exit code {outcome.code}.")
        expect(because in outcome.complaint, f"The refusal does not say {because!r}: {outcome.complaint}")
        narrator.refused("exit code 1", outcome.complaint.splitlines())

    def _request_for(self, trained: Trained) -> dict[str, Any]:
        requests: list[dict[str, Any]] = self._json("dana", "requests", "--target", CHAMPION)["requests"]
        found = [request for request in requests if request["version"] == trained.version]
        expect(len(found) == 1, f"{len(found)} requests ask that the champion become version {trained.version}.")
        return found[0]

    def _json(self, who: str, *arguments: str) -> Any:
        outcome = self.stage.lockgate(who, *arguments, "--json")
        expect(outcome.code == 0, f"`lockgate {shlex.join(arguments)}` ended with {outcome.code}: {outcome.complaint}")
        return outcome.json
