"""The story, act by act. A step that does not do what it says ends it, with exit code 1."""

import logging
import time
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from requests import RequestException

from demo import narrator
from demo.stage import CAST, Stage, WentWrong
from demo.steps import CHAMPION, CHECK, Steps, expect
from demo.train import BETTER, GOOD, MODEL, UNDER_TRAINED, Data, Trained

REASON = "false alarms doubled since version 3 serves"


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
        tell(Steps(stage, Data.load()))
        narrator.act(f"The end, after {time.monotonic() - begun:.0f} seconds")
        if keep:
            keep_open(stage)
        else:
            say_goodbye(stage)
    except WentWrong as error:
        narrator.failed(f"The demo stops here. {error}")
        if stage.has_begun:
            narrator.plain(f"The server's log: {stage.log}")
        return 1
    except (MlflowException, RequestException) as error:
        narrator.failed(f"The demo stops here. {error}")
        narrator.plain(f"The server's log: {stage.log}. It ends with:\n{stage.end_of_log()}")
        return 1
    finally:
        stage.close()
    return 0


def set_the_stage(stage: Stage) -> None:
    """Start the server and let people in."""
    narrator.act("Setting the stage")
    narrator.say(
        "Last week a junior promoted an under-trained model to Production on a Friday afternoon. The team ran `mlflow "
        "server`; now it runs `lockgate server`: the same flags, the same clients, and a gate."
    )
    narrator.does("admin", "lockgate server --backend-store-uri sqlite:///mlflow.db --policy demo/policy.yaml")
    with narrator.waiting("the server starts"):
        stage.open()
    narrator.answers(f"ready at {stage.uri}")
    narrator.say(
        "Five principals. `lockgate users add NAME --role ...` lets them in, `lockgate tokens create NAME` prints "
        "their token, which goes into MLFLOW_TRACKING_TOKEN. (What commands answer is told from their --json.)"
    )
    with narrator.waiting("they come in"):
        for member in CAST:
            stage.let_in(member)
    known = {p["name"]: p for p in stage.lockgate("admin", "users", "list", "--json").json["principals"]}
    expect(known.keys() >= {member.name for member in CAST}, f"Not everybody was let in: {', '.join(known)}.")
    narrator.table(
        ("NAME", "WHO", "KIND", "ROLES", "GROUPS"),
        ((m.name, m.who, known[m.name]["kind"], *_standing(known[m.name])) for m in CAST),
    )


def _standing(principal: dict[str, Any]) -> tuple[str, str]:
    return ", ".join(principal["roles"]), ", ".join(principal["groups"])


def tell(steps: Steps) -> None:
    """Play the acts. Each needs those before it."""
    bad = friday_afternoon(steps)
    good = ci_stages_what_passes(steps, bad)
    request = validate_and_review(steps, good)
    release(steps, request, good)
    better = another_version(steps)
    roll_back(steps, good, better)
    look_back(steps, good, better)


def friday_afternoon(steps: Steps) -> Trained:
    """Let the junior train a poor model and try to promote it."""
    narrator.act("Act 1. Friday afternoon")
    narrator.say(
        "The junior is in a hurry and trains one tree that asks one question, on the first dozen rows. (The data is "
        "scikit-learn's breast-cancer set; malignant stands in for fraud. The model really is that bad.)"
    )
    bad = steps.train("junior", UNDER_TRAINED)
    narrator.say("The weekend is near, and this is the call that used to work:")
    refusal = steps.refused_transition(
        "junior", bad, "Production", because=("auc-floor", "documented", CHECK, "group:senior", "service:release-bot")
    )
    expect(refusal["request_id"] == 1, f"The attempt left request {refusal['request_id']}, not the first.")
    narrator.say(
        "Nothing moved. The refusal came through the unmodified client and names all that is missing. (A team would "
        "freeze weekends too; demo/policy.yaml says how, and leaves it out because the demo must work on a Saturday.) "
        f"The attempt became promotion request 1, which anybody can look at: {refusal['url']}"
    )
    return bad


def ci_stages_what_passes(steps: Steps, bad: Trained) -> Trained:
    """Let CI stage the good model, and show that it can't stage the bad one."""
    narrator.act("Act 2. CI stages what passes its gates")
    narrator.say("Dana, the data scientist, trains 50 trees on 200 rows and says what the model is:")
    good = steps.train("dana", GOOD)
    steps.describe("dana", good, GOOD)
    narrator.say("The pipeline stages new versions by itself, if their gates pass. The junior's version does not:")
    steps.refused_transition("ci", bad, "Staging", because=("auc-floor",))
    narrator.say("Dana's does:")
    steps.stage_by_ci(good)
    return good


def validate_and_review(steps: Steps, good: Trained) -> dict[str, Any]:
    """Report the check, ask, and have the request reviewed."""
    narrator.act("Act 3. A check, a request, a review")
    narrator.say("CI loads the staged model as production would, tries it, and reports a check:")
    steps.validate_by_ci(good)
    narrator.say("Dana asks that the champion, which is what production loads, become this version:")
    request = steps.ask("dana", good)
    narrator.say("Everything that a machine can judge is there. The approval must come from somebody else:")
    steps.refused_command("dana", "approve", str(request["id"]), because="nobody approves their own work")
    steps.approve("sonia", request, "Metrics and data version look right.")
    return request


def release(steps: Steps, request: dict[str, Any], good: Trained) -> None:
    """Let the release bot carry the request out, and use what it promoted."""
    narrator.act("Act 4. The release")
    narrator.say("Approved is not promoted yet: the policy lets the release bot carry it out, and nobody else.")
    steps.refused_command("ci", "promote", str(request["id"]), because="service:release-bot")
    steps.promote("release-bot", request)
    narrator.say("What serves loads its model as it always did, and needs to know nothing of all this:")
    steps.serve(good)


def another_version(steps: Steps) -> Trained:
    """Send a second good version the same way; this time the bot uses the mlflow client."""
    narrator.act("Act 5. A better model goes the same way")
    narrator.say("There is more data, and Dana trains 100 trees on all of it.")
    better = steps.train("dana", BETTER)
    steps.describe("dana", better, BETTER)
    steps.stage_by_ci(better)
    steps.validate_by_ci(better)
    request = steps.ask("dana", better)
    steps.approve("sonia", request, "Better on every metric.")
    narrator.say("The bot need not know Lockgate: once a request is approved, MLflow's own call goes through.")
    steps.set_champion("release-bot", better)
    steps.serve(better)
    return better


def roll_back(steps: Steps, good: Trained, better: Trained) -> None:
    """Return to the version that served before."""
    narrator.act("Act 6. Back")
    narrator.say(
        "That night, so the story goes, false alarms double. Sonia is on call, and an operator: at once and without "
        "asking, she may go back to the version that really served before. It takes a reason."
    )
    decision = steps.command("sonia", "rollback", MODEL, CHAMPION, "--reason", REASON)
    moved = (decision["previous_version"], decision["version"])
    expect(moved == (better.version, good.version), f"The rollback went from version {moved[0]} to {moved[1]}.")
    narrator.answers(f"{decision['target']} is version {moved[1]} again (was {moved[0]})")
    steps.serve(good)


def look_back(steps: Steps, good: Trained, better: Trained) -> None:
    """Print who was in production when, and by whose decision; and who was refused."""
    narrator.act("Act 7. Who was in production when, and by whose decision?")
    held = steps.command("dana", "history", MODEL, "--target", CHAMPION)["history"]
    expect(
        [(h["version"], h["how"], h["by"], h["approved_by"]) for h in held]
        == [
            (good.version, "promotion", "release-bot", ["sonia"]),
            (better.version, "promotion", "release-bot", ["sonia"]),
            (good.version, "rollback", "sonia", ["sonia"]),
        ],
        f"The history is another one: {held}",
    )
    expect([h["to"] for h in held] == [held[1]["from"], held[2]["from"], None], f"The history has gaps: {held}")
    narrator.table(("VERSION", "FROM", "TO", "HOW", "BY", "APPROVED BY", "REASON"), map(_tenure, held))
    narrator.say("Which version was it when the false alarms came in?")
    then = _between(held[1]["from"], held[1]["to"])
    held_then = steps.command("dana", "history", MODEL, "--target", CHAMPION, "--at", then)["history"]
    expect([h["version"] for h in held_then] == [better.version], f"At {then} it was {held_then}.")
    narrator.answers(f"version {better.version}, approved by {', '.join(held_then[0]['approved_by'])}")
    narrator.say("The audit log knows the attempts too, and that Friday's is among them:")
    entries = steps.command("dana", "audit", "list", "--model", MODEL)["entries"]
    refused = [entry for entry in reversed(entries) if entry["outcome"] == "refused"]
    attempts = {(entry["actor"], entry["target"]) for entry in refused}
    expect(
        attempts >= {("junior", "stage:Production"), ("ci", "stage:Staging"), ("ci", CHAMPION)},
        f"The audit log knows other attempts: {refused}",
    )
    narrator.table(
        ("AT", "WHO", "WHAT", "VERSION", "TARGET"),
        ((_clock(e["at"]), e["actor"], e["action"], e["version"] or "", e["target"] or "") for e in refused),
    )


def _tenure(held: dict[str, Any]) -> tuple[str, ...]:
    times = _clock(held["from"]), _clock(held["to"])
    return (held["version"], *times, held["how"], held["by"], ", ".join(held["approved_by"]), held["reason"])


def _clock(at: str | None) -> str:
    return f"{at[11:19]}Z" if at else "now"


def _between(start: str, end: str) -> str:
    """Return a moment between two."""
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    return (first + (last - first) / 2).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def keep_open(stage: Stage) -> None:
    """Tell how to look around, and wait for Ctrl-C."""
    narrator.say("The server runs on until Ctrl-C. In a browser, paste one of the tokens into the first page:")
    tokens = "\n".join(f"    {name:<12} {token}" for name, token in stage.tokens.items())
    narrator.plain(
        f"""
    Sign in               {stage.uri}/lockgate/sign-in
    MLflow's pages        {stage.uri}/
    The junior's request  {stage.uri}/lockgate/requests/1

  In a terminal, in this folder, as sonia for example:

    export MLFLOW_TRACKING_URI={stage.uri}
    export MLFLOW_TRACKING_TOKEN={stage.tokens["sonia"]}
    .venv/bin/lockgate requests
    .venv/bin/lockgate show 1
    .venv/bin/lockgate reject 1 --comment "train it first"
    .venv/bin/lockgate history {MODEL}
    .venv/bin/lockgate policy show

  The tokens; they are good for this throw-away server only:

{tokens}"""
    )
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
        f"Every step did what it says. The server is stopped; its database, artifacts and log are in "
        f"{stage.folder.name}/. `make demo KEEP=1` plays this again and leaves the server running to look around."
    )
