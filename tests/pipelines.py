"""Pipelines of GitLab's and GitHub's, run as far as ours use them: jobs in order, their shell, what they pass on.

These are no runners of the vendors': they know the keywords that our files have, and fail for others.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.house import SCRIPTS

ROOT = Path(__file__).parents[1]
_KNOWN_OF_GITLAB = {
    "extends", "stage", "image", "id_tokens", "before_script", "script", "rules", "variables", "artifacts",
    "resource_group", "environment",
}  # fmt: skip


class Failed(Exception):
    """A job that failed; with what it said."""


@dataclass
class Machine:
    """Where jobs run: a checkout, and the shell."""

    folder: Path
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        shutil.copytree(ROOT / "integrations", self.folder / "integrations")

    def run(self, script: str, variables: Mapping[str, str]) -> None:
        inherited = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
        path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**inherited, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **variables},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.log.append(done.stdout + done.stderr)
        if done.returncode:
            raise Failed(f"exit code {done.returncode}: {done.stdout}{done.stderr}")


# GitLab


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {**below, **above}
    return {k: _merged(below[k], v) if isinstance(v, dict) and isinstance(below.get(k), dict) else v
            for k, v in both.items()}  # fmt: skip


@dataclass
class Gitlab:
    """A project with the example as its `.gitlab-ci.yml`."""

    machine: Machine
    #: What the project's settings say; wins over the file.
    settings: Mapping[str, str]
    #: Signs the token of a job for an audience.
    sign: Callable[[str], str]

    def file(self) -> dict[str, Any]:
        read = yaml.safe_load((ROOT / "integrations/gitlab/example.gitlab-ci.yml").read_text())
        for included in read.pop("include"):
            read = _merged(yaml.safe_load((ROOT / included["local"]).read_text()), read)
        return dict(read)

    def pipeline(self, source: str, **variables: str) -> list[str]:
        """Run a pipeline; return the names of its jobs."""
        file = self.file()
        stages, common = file.pop("stages"), file.pop("variables")
        of_platform = {
            "CI_PIPELINE_SOURCE": source, "CI_COMMIT_BRANCH": "main", "CI_DEFAULT_BRANCH": "main",
            "CI_COMMIT_SHA": "0123abcd", "CI_JOB_URL": "https://gitlab.example.com/acme/fraud/-/jobs/42",
        }  # fmt: skip
        jobs = {name: self._extended(file, name) for name in file if not name.startswith(".")}
        passed_on: dict[str, str] = {}
        ran = []
        for name, job in sorted(jobs.items(), key=lambda one: stages.index(one[1]["stage"])):
            assert job.keys() <= _KNOWN_OF_GITLAB, job.keys()
            # From least to most: GitLab's own order of precedence.
            known = {**common, **job.get("variables", {}), **passed_on, **of_platform, **self.settings, **variables}
            known = {k: re.sub(r"\$(\w+)", lambda m, known=known: known.get(m[1], ""), v) for k, v in known.items()}
            if not any(_holds(rule["if"], known) for rule in job["rules"]):
                continue
            for token, wanted in job["id_tokens"].items():
                known[token] = self.sign(known[wanted["aud"].removeprefix("$")])
            self.machine.run("\n".join([*job["before_script"], *job["script"]]), known)
            ran.append(name)
            report = job.get("artifacts", {}).get("reports", {}).get("dotenv")
            if report:
                passed_on |= _dotenv(self.machine.folder / report)
        return ran

    def _extended(self, file: dict[str, Any], name: str) -> dict[str, Any]:
        job = file[name]
        return _merged(self._extended(file, job["extends"]), job) if "extends" in job else job


def _holds(condition: str, known: Mapping[str, str]) -> bool:
    def value(term: str) -> str | None:
        return known.get(term[1:]) if term.startswith("$") else term.strip("\"'")

    sides = [part.split(" == ") for part in condition.split(" && ")]
    return all(value(left.strip()) == value(right.strip()) for left, right in sides)


def _dotenv(file: Path) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in file.read_text().splitlines())
    found = {name.strip(): value.strip() for name, value in pairs}
    file.unlink()
    return found


# GitHub


@dataclass
class Github:
    """A repository with the example among its workflows."""

    machine: Machine
    settings: Mapping[str, str]

    def workflow(self, event: str, payload: Mapping[str, Any] | None = None) -> list[str]:
        """Run the workflow for an event; return the names of its jobs."""
        file = yaml.safe_load((ROOT / "integrations/github/example.yml").read_text())
        started_by = file[True]  # YAML 1.1 takes `on` for a truth value.
        if event == "repository_dispatch":
            assert payload is not None
            assert payload["event_type"] in started_by[event]["types"]
        else:
            assert event in started_by
        context: dict[str, Any] = {
            "github": {"event_name": event, "sha": "0123abcd",
                       "event": {"client_payload": (payload or {}).get("client_payload", {})}},
            "needs": {},
        }  # fmt: skip
        ran = []
        for name, job in file["jobs"].items():
            needed = job.get("needs", [])
            if not set(needed) <= set(ran) or not _is_true(job.get("if", ""), context):
                continue
            self._job(name, job, {**file["env"], **self.settings}, context)
            ran.append(name)
        return ran

    def _job(self, name: str, job: Mapping[str, Any], common: Mapping[str, str], context: dict[str, Any]) -> None:
        exported = self.machine.folder / "github_env"
        exported.write_text("")
        steps: dict[str, Any] = {}
        for step in job["steps"]:
            here = {**context, "steps": steps}
            known = {**common, **_outputs(exported), "GITHUB_ENV": str(exported), **_filled(step.get("env", {}), here)}
            if "run" in step:
                given = self._shell(step["run"], known)
            elif step["uses"].startswith("./"):
                given = self._action(step["uses"], _filled(step.get("with", {}), here), known)
            else:
                assert step["uses"].startswith("actions/"), step
                continue
            steps[step.get("id", "")] = {"outputs": given}
        outputs = _filled(job.get("outputs", {}), {**context, "steps": steps})
        context["needs"][name] = {"outputs": outputs}

    def _action(self, path: str, given: dict[str, str], known: Mapping[str, str]) -> dict[str, str]:
        action = yaml.safe_load((ROOT / path / "action.yml").read_text())
        assert given.keys() <= action["inputs"].keys()
        inputs = {name: given.get(name, said.get("default", "")) for name, said in action["inputs"].items()}
        steps: dict[str, Any] = {}
        for step in action["runs"]["steps"]:
            assert "${{" not in step["run"]
            env = _filled(step["env"], {"inputs": inputs})
            steps[step["id"]] = {"outputs": self._shell(step["run"], {**known, **env})}
        return _filled({name: said["value"] for name, said in action["outputs"].items()}, {"steps": steps})

    def _shell(self, script: str, known: Mapping[str, str]) -> dict[str, str]:
        output = self.machine.folder / "github_output"
        output.write_text("")
        self.machine.run(script, {**known, "GITHUB_OUTPUT": str(output)})
        return _outputs(output)


def _filled(texts: Mapping[str, str], context: Mapping[str, Any]) -> dict[str, str]:
    def value(match: re.Match[str]) -> str:
        return str(_at(match[1], context))

    return {name: re.sub(r"\$\{\{ ([\w.]+) \}\}", value, str(text)) for name, text in texts.items()}


def _at(path: str, context: Any) -> Any:
    for part in path.split("."):
        context = context.get(part, "")
    return context


def _is_true(condition: str, context: Mapping[str, Any]) -> bool:
    sides = [part.split(" == ") for part in condition.split(" && ") if part]
    return all(str(_at(left, context)) == right.strip("'") for left, right in sides)


def _outputs(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines()
    found = {}
    while lines:
        name, heredoc, end = lines[0].partition("<<")
        if heredoc and "=" not in name:
            last = lines.index(end, 1)
            found[name] = "\n".join(lines[1:last])
            lines = lines[last + 1 :]
        else:
            name, _, value = lines.pop(0).partition("=")
            found[name] = value
    return found
