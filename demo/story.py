"""The story, act by act. Every step is checked: a step that does not do what it says ends the demo with exit code 1."""

import logging
import shlex
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from requests import RequestException

from demo import narrator
from demo.stage import CAST, Stage, WentWrong
from demo.train import BETTER, GOOD, MODEL, UNDER_TRAINED, Data, Recipe, Trained, agreement, train_and_register

CHAMPION = "alias:champion"
CHECK = "staging-validation"
REASON = "more false alarms since the switch; back to what served before while we look"
_CALL = "client.transition_model_version_stage"


def play(folder: Path, keep: bool) -> int:
    """Play all acts.

    Args:
        folder: Where the server keeps its data.
        keep: Whether the server runs on at the end, until Ctrl-C.

    Returns:
        The exit code: 0 if every step did what it says.
    """
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    stage, begun = Stage(folder), time.monotonic()
    try:
        stage.prepare()
        set_the_stage(stage)
        Story(stage, Data.load()).tell()
        narrator.act(f"The end, after {time.monotonic() - begun:.0f} seconds")
        if keep:
            keep_open(stage)
        else:
            say_goodbye(stage)
    except WentWrong as error:
        narrator.failed(f"The demo stops here: {error}")
        return 1
    except (MlflowException, RequestException) as error:
        narrator.failed(f"The demo stops here: {error}\nThe end of the server's log ({stage.log}):")
        narrator.plain(stage.end_of_log())
        return 1
    except KeyboardInterrupt:
        narrator.failed("Interrupted; the server is being stopped.")
        return 130
    finally:
        stage.close()
    return 0


def expect(truth: bool, otherwise: str) -> None:
    """Stop the demo if something is not as it says."""
    if not truth:
        raise WentWrong(otherwise)


def set_the_stage(stage: Stage) -> None:
    """Start the server and let people in."""
    narrator.act("Setting the stage")
    narrator.say(
        "A team runs `mlflow server`, and last week a junior put an under-trained model into production on a Friday "
        "afternoon. Now they run `lockgate server` instead: the same flags, the same clients, and a gate."
    )
    narrator.does("admin", f"lockgate server --backend-store-uri sqlite:///mlflow.db --policy {_policy()} ...")
    stage.open()
    narrator.answers(f"ready at {stage.uri}")
    narrator.say(
        "Five principals, each with a token of their own: `lockgate users add NAME --role ...` makes them, "
        "`lockgate tokens create NAME` prints the token, which goes into MLFLOW_TRACKING_TOKEN as it always did."
    )
    for member in CAST:
        stage.let_in(member)
    everybody = stage.lockgate("admin", "users", "list", "--json").json["principals"]
    there = {known["name"]: known for known in everybody}
    expect(all(member.name in there for member in CAST), f"Not everybody was let in: {', '.join(there)}.")
    narrator.table(
        ("NAME", "WHO", "KIND", "ROLES", "GROUPS"),
        (
            (
                m.name,
                m.who,
                there[m.name]["kind"],
                ", ".join(there[m.name]["roles"]),
                ", ".join(there[m.name]["groups"]),
            )
            for m in CAST
        ),
    )
    narrator.say("(Lockgate's commands are run with --json, and what they answer is told from that.)")


def _policy() -> str:
    return "demo/policy.yaml"


@dataclass
class Story:
    """The acts. Each needs those before it."""

    stage: Stage
    data: Data

    def tell(self) -> None:
        """Play them all."""
        bad = self.friday_afternoon()
        good = self.ci_stages_what_passes(bad)
        self.validate_and_review(good)
        self.promote(good)
        better = self.another_version(good)
        self.roll_back(good, better)
        self.look_back(good, better)

    # The acts

    def friday_afternoon(self) -> Trained:
        """Let the junior train a poor model and try to promote it."""
        narrator.act("Act 1. Friday afternoon")
        narrator.say(
            "The junior trains a model and is in a hurry: one tree that asks one question, on the first dozen rows. "
            "(The data is scikit-learn's breast-cancer set; malignant stands in for fraud.)"
        )
        bad = self.train("junior", UNDER_TRAINED)
        narrator.say("It is Friday, the weekend is near, and the call is the one that used to work:")
        self.refused_call(
            "junior",
            f'{_CALL}("{MODEL}", "{bad.version}", "Production", archive_existing_versions=True)',
            lambda client: client.transition_model_version_stage(MODEL, bad.version, "Production", True),
            because=("auc-floor", "documented", CHECK, "group:senior", "junior"),
        )
        expect(self.stage_of(bad) == "None", "The refused version moved all the same.")
        narrator.say(
            f"Production did not change. The refusal is a to-do list: it says all that is missing at once, through the "
            f"unmodified client. It left a promotion request that anybody can look at: "
            f"{self.stage.uri}/lockgate/requests/1"
        )
        return bad

    def ci_stages_what_passes(self, bad: Trained) -> Trained:
        """Let CI stage the good model, and show that it can't stage the bad one."""
        narrator.act("Act 2. CI stages what passes its gates")
        narrator.say("Dana, the data scientist, trains on 200 rows, and says what the model is:")
        good = self.train("dana", GOOD)
        self.describe("dana", good, GOOD)
        narrator.say("The pipeline stages new versions, by the article's own call. Not the junior's, though:")
        self.refused_call(
            "ci",
            f'{_CALL}("{MODEL}", "{bad.version}", "Staging")',
            lambda client: client.transition_model_version_stage(MODEL, bad.version, "Staging"),
            because=("auc-floor",),
        )
        expect(self.stage_of(bad) == "None", "CI staged a version below the floor.")
        self.stage_by_ci(good)
        return good

    def validate_and_review(self, good: Trained) -> None:
        """Report the check, ask, and have it reviewed."""
        narrator.act("Act 3. A check, a request, a review")
        self.validate_by_ci(good)
        narrator.say("Dana asks that the champion, the version that production loads, become this one:")
        request = self.ask("dana", good)
        narrator.say("All gates pass, and one thing is missing. Dana can't supply it:")
        self.refused_command("dana", "approve", str(request["id"]), because="nobody approves their own work")
        self.approve("sonia", request, "Metrics and data version look right.")

    def promote(self, good: Trained) -> None:
        """Let the release bot carry the request out, and use what it promoted."""
        narrator.act("Act 4. The release")
        request = self.the_request(good)
        self.refused_command("dana", "promote", str(request["id"]), because="may not carry out promotions")
        done = self.command("release-bot", "promote", str(request["id"]))
        expect(done["state"] == "promoted", f"The request is {done['state']}, not promoted.")
        narrator.answers(f"request {done['id']} is {done['state']}: {done['outcome']}")
        narrator.say("Production loads its model as it always did, and knows nothing of all this:")
        self.serve(good)

    def another_version(self, good: Trained) -> Trained:
        """Send a second good version the same way; this time the bot uses the mlflow client."""
        narrator.act("Act 5. A better model, the same way")
        narrator.say("A month later there is more data, and Dana trains 100 trees on all of it.")
        better = self.train("dana", BETTER)
        self.describe("dana", better, BETTER)
        self.stage_by_ci(better)
        self.validate_by_ci(better)
        request = self.ask("dana", better)
        self.approve("sonia", request, "Better on every metric.")
        narrator.say("The release bot need not know Lockgate: an approved request makes MLflow's own call go through.")
        narrator.does("release-bot", f'client.set_registered_model_alias("{MODEL}", "champion", "{better.version}")')
        with self.stage.mlflow_as("release-bot") as client:
            client.set_registered_model_alias(MODEL, "champion", better.version)
        state = self.the_request(better)["state"]
        expect(state == "promoted", f"The alias was set and the request is {state}, not promoted.")
        narrator.answers(f"done, and request {request['id']} is {state}")
        self.serve(better)
        expect(better.version != good.version, "The second version is the first one.")
        return better

    def roll_back(self, good: Trained, better: Trained) -> None:
        """Return to the version that served before."""
        narrator.act("Act 6. Back")
        narrator.say(
            "In the night, support reports more false alarms. Sonia is on call: an operator may go back to the version "
            "that really served before, at once, and to no other. It needs a reason, for those who read the history."
        )
        self.refused_command("dana", "rollback", MODEL, CHAMPION, "--reason", "please", because="may not roll back")
        decision = self.command("sonia", "rollback", MODEL, CHAMPION, "--reason", REASON)
        expect(
            (decision["version"], decision["previous_version"]) == (good.version, better.version),
            f"The rollback went from {decision['previous_version']} to {decision['version']}.",
        )
        narrator.answers(
            f"{decision['target']} is version {decision['version']} again (was {decision['previous_version']})"
        )
        self.serve(good)

    def look_back(self, good: Trained, better: Trained) -> None:
        """Print who was in production when, and by whose decision."""
        narrator.act("Act 7. Who was in production when, and by whose decision?")
        held = self.command("dana", "history", MODEL, "--target", CHAMPION)["history"]
        expect(
            [(h["version"], h["how"], h["by"], h["approved_by"]) for h in held]
            == [
                (good.version, "promotion", "release-bot", ["sonia"]),
                (better.version, "promotion", "release-bot", ["sonia"]),
                (good.version, "rollback", "sonia", []),
            ],
            f"The history is another one: {held}",
        )
        until = [h["to"] for h in held]
        expect(until == [held[1]["from"], held[2]["from"], None], f"The history has gaps: {held}")
        narrator.table(
            ("VERSION", "FROM", "TO", "HOW", "BY", "APPROVED BY", "REASON"),
            (
                (
                    h["version"], _clock(h["from"]), _clock(h["to"]), h["how"], h["by"],
                    ", ".join(h["approved_by"]), h["reason"],
                )
                for h in held
            ),
        )  # fmt: skip
        then = _between(held[1]["from"], held[1]["to"])
        narrator.say("And at one moment of the night, when the false alarms came in?")
        at_night = self.command("dana", "history", MODEL, "--target", CHAMPION, "--at", then)["history"]
        expect([h["version"] for h in at_night] == [better.version], f"At {then} it was {at_night}.")
        narrator.answers(f"version {better.version}, approved by {', '.join(at_night[0]['approved_by'])}")
        self.show_refusals()

    def show_refusals(self) -> None:
        """Show that who was refused is on record too."""
        narrator.say("Who was refused is on record as well:")
        entries = self.command("dana", "audit", "list", "--model", MODEL)["entries"]
        refused = [e for e in reversed(entries) if e["outcome"] == "refused"]
        expect(
            [(e["actor"], e["target"]) for e in refused[:2]]
            == [("junior", "stage:Production"), ("ci", "stage:Staging")],
            f"The audit log has other refusals: {refused}",
        )
        narrator.table(
            ("AT", "WHO", "WHAT", "VERSION", "TARGET"),
            ((_clock(e["at"]), e["actor"], e["action"], e["version"] or "", e["target"] or "") for e in refused),
        )

    # What happens in more than one act

    def train(self, who: str, recipe: Recipe) -> Trained:
        """Train and register a model, and check that the server has what was measured."""
        narrator.does(
            who,
            "mlflow.sklearn.log_model(RandomForestClassifier("
            + ", ".join(f"{key}={value}" for key, value in recipe.config.items())
            + f'), registered_model_name="{MODEL}", input_example=...)',
        )
        with self.stage.mlflow_as(who) as client:
            mlflow.set_experiment("fraud-detection")
            trained = train_and_register(self.data, recipe)
            kept = client.get_run(trained.run_id).data
            version = client.get_model_version(MODEL, trained.version)
        expect(kept.metrics == trained.metrics, f"The run has other metrics: {kept.metrics}, not {trained.metrics}.")
        expect({"data_version", "git_commit"} <= kept.tags.keys(), "The run lacks data_version or git_commit.")
        expect(version.run_id == trained.run_id, "The version does not name its run.")
        measured = ", ".join(f"{name} {value:.4g}" for name, value in trained.metrics.items())
        narrator.answers(f"{MODEL} version {trained.version}: {measured}")
        return trained

    def describe(self, who: str, trained: Trained, recipe: Recipe) -> None:
        """Say what a version is."""
        text = (
            f"Trained on {recipe.rows} rows of data {recipe.data_version}. Val AUC: {trained.metrics['val_auc']:.4f}."
        )
        narrator.does(who, f'client.update_model_version("{MODEL}", "{trained.version}", description="{text}")')
        with self.stage.mlflow_as(who) as client:
            described = client.update_model_version(MODEL, trained.version, description=text)
        expect(described.description == text, "The description was not kept.")
        narrator.answers("described")

    def stage_by_ci(self, trained: Trained) -> None:
        """Move a version to Staging, by CI's unmodified call."""
        narrator.does("ci", f'{_CALL}("{MODEL}", "{trained.version}", "Staging")')
        with self.stage.mlflow_as("ci") as client:
            client.transition_model_version_stage(MODEL, trained.version, "Staging")
        expect(self.stage_of(trained) == "Staging", "The version did not get to Staging.")
        narrator.answers(f"version {trained.version} is in Staging: its gates pass, and no more is asked for that")

    def validate_by_ci(self, trained: Trained) -> None:
        """Try the staged model as production would use it, and report how that went."""
        narrator.say("CI loads the staged version as production would, and tries it on rows it has not seen:")
        narrator.does("ci", f'mlflow.pyfunc.load_model("models:/{MODEL}/{trained.version}").predict(rows)')
        with self.stage.mlflow_as("ci"):
            served = mlflow.pyfunc.load_model(f"models:/{MODEL}/{trained.version}").predict(self.data.x_val)
        right = agreement(served, self.data.y_val)
        narrator.answers(f"{right:.1%} of {len(served)} right")
        status, summary = "success" if right >= 0.9 else "failure", f"{right:.1%} of {len(served)} rows right"
        reported = self.command("ci", "check", MODEL, trained.version, CHECK, "--status", status, "--summary", summary)
        expect(reported["status"] == "success", f"The check of version {trained.version} is {reported['status']}.")
        narrator.answers(f"{reported['reporter']} reported {reported['name']}: {reported['status']}")

    def ask(self, who: str, trained: Trained) -> dict[str, Any]:
        """Ask that the champion become a version; everything but the approval must be there."""
        request: dict[str, Any] = self.command(who, "request", MODEL, trained.version, CHAMPION)
        expect(request["state"] == "open", f"The request is {request['state']} before anybody approved it.")
        outcomes = {gate["name"]: gate["outcome"] for gate in request["gates"]}
        expect(set(outcomes.values()) == {"passed"}, f"Not all gates pass: {outcomes}")
        narrator.answers(f"request {request['id']} is {request['state']}")
        narrator.gates(request["gates"])
        narrator.refused("still missing:", request["unmet"])
        return request

    def approve(self, who: str, request: dict[str, Any], comment: str) -> None:
        """Approve a request."""
        approved = self.command(who, "approve", str(request["id"]), "--comment", comment)
        expect(approved["state"] == "approved", f"After the approval the request is {approved['state']}.")
        expect(not approved["unmet"], f"After the approval there is still missing: {approved['unmet']}")
        digest = approved["evidence"]["digest"]
        narrator.answers(f"request {approved['id']} is {approved['state']}, on exactly this evidence: {digest[:23]}…")

    def serve(self, trained: Trained) -> None:
        """Load the champion and check that it is, and predicts as, a certain version."""
        narrator.does("release-bot", f'mlflow.pyfunc.load_model("models:/{MODEL}@champion").predict(rows)')
        with self.stage.mlflow_as("release-bot") as client:
            champion = client.get_model_version_by_alias(MODEL, "champion")
            served = mlflow.pyfunc.load_model(f"models:/{MODEL}@champion").predict(self.data.x_val)
        expect(str(champion.version) == trained.version, f"The champion is version {champion.version}.")
        expected = trained.model.predict(self.data.x_val)
        expect(agreement(served, expected) == 1.0, "The champion predicts otherwise than the model that was trained.")
        right = agreement(served, self.data.y_val)
        narrator.answers(f"version {champion.version}: {len(served)} predictions, {right:.1%} right")

    def the_request(self, trained: Trained) -> dict[str, Any]:
        """Return the request that asks for a version as champion."""
        found = self.stage.lockgate("dana", "requests", "--model", MODEL, "--target", CHAMPION, "--json")
        expect(found.code == 0, f"`lockgate requests` failed: {found.complaint}")
        requests: list[dict[str, Any]] = found.json["requests"]
        return next(request for request in requests if request["version"] == trained.version)

    def stage_of(self, trained: Trained) -> str:
        """Return the stage that a version is in."""
        with self.stage.mlflow_as("dana") as client:
            return str(client.get_model_version(MODEL, trained.version).current_stage)

    # Steps: a command or a call, and what must come back

    def command(self, who: str, *arguments: str) -> Any:
        """Run a command that must succeed; return its JSON."""
        narrator.does(who, f"lockgate {shlex.join(arguments)}")
        outcome = self.stage.lockgate(who, *arguments, "--json")
        expect(outcome.code == 0, f"The command ended with exit code {outcome.code}: {outcome.complaint}")
        return outcome.json

    def refused_command(self, who: str, *arguments: str, because: str) -> None:
        """Run a command that must be refused, for a reason."""
        narrator.does(who, f"lockgate {shlex.join(arguments)}")
        outcome = self.stage.lockgate(who, *arguments)
        expect(outcome.code == 1, f"The command should be refused and ended with exit code {outcome.code}.")
        expect(because in outcome.complaint, f"The refusal does not say {because!r}: {outcome.complaint}")
        narrator.refused("exit code 1", outcome.complaint.splitlines())

    def refused_call(
        self, who: str, shown: str, call: Callable[[MlflowClient], object], because: Iterable[str]
    ) -> None:
        """Make a call of the mlflow client that must be refused, for some reasons."""
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
        missing = [word for word in because if word not in refusal.message]
        expect(not missing, f"The refusal does not mention {', '.join(missing)}: {refusal}")
        reasons = refusal.json.get("details", {}).get("unmet") or [refusal.message]
        narrator.refused(f"{status} {refusal.error_code}", reasons)


def keep_open(stage: Stage) -> None:
    """Tell how to look around, and wait for Ctrl-C."""
    narrator.say(
        f"The server runs on at {stage.uri} until Ctrl-C. To look around in a browser, paste a token at "
        f"{stage.uri}/lockgate/sign-in; in a terminal, be sonia:"
    )
    bin_folder = ".venv/bin"
    narrator.plain(
        f"""
    export MLFLOW_TRACKING_URI={stage.uri}
    export MLFLOW_TRACKING_TOKEN={stage.tokens["sonia"]}
    {bin_folder}/lockgate requests
    {bin_folder}/lockgate show 1
    {bin_folder}/lockgate history {MODEL}
    {bin_folder}/lockgate policy show
    {bin_folder}/lockgate audit list

  MLflow's pages        {stage.uri}/
  The junior's request  {stage.uri}/lockgate/requests/1

  Tokens, good for this throw-away server only:"""
    )
    for name, token in stage.tokens.items():
        narrator.plain(f"    {name:<12} {token}")
    try:
        while not stage.has_ended():
            time.sleep(0.5)
    except KeyboardInterrupt:
        narrator.say("Stopping the server.")
        return
    raise WentWrong(f"The server ended by itself. The end of its log:\n{stage.end_of_log()}")


def say_goodbye(stage: Stage) -> None:
    """Tell what is left and how to look around."""
    narrator.say(
        f"The server is stopped. Its database, artifacts and log are in {stage.folder.name}/. "
        "`make demo KEEP=1` plays this again and leaves the server running, to look around."
    )


def _clock(time: str | None) -> str:
    return f"{time[11:19]}Z" if time else "now"


def _between(start: str, end: str) -> str:
    """Return a moment between two."""
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    return (first + (last - first) / 2).isoformat().replace("+00:00", "Z")
