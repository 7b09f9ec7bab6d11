"""What the article looks for with a call for each run, one call of ours answers, and shows only what may be seen."""

import csv
import io
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from pyarrow import parquet

from tests.conftest import BACKENDS
from tests.house import ONE_APPROVAL, House
from tests.integration import article
from tests.integration.test_bad_input import clear
from tests.statements import statements

LINEAGE = "/api/lockgate/v1/lineage"


@dataclass(frozen=True)
class Scene:
    """Two models in experiments of their own, a prompt, and somebody who sees the first model and its experiment."""

    house: House
    seen: str
    hidden: str
    data: str
    runs: Mapping[str, str]
    near: str

    def ask(self, who: str = "vic", **parameters: Any) -> list[dict[str, Any]]:
        answer = self.house.http(who).get(LINEAGE, params=parameters)
        assert answer.is_success, answer.text
        found: list[dict[str, Any]] = answer.json()["versions"]
        return found

    def found(self, who: str = "vic", **parameters: Any) -> list[tuple[str, str]]:
        return [(one["model"], one["version"]) for one in self.ask(who, **parameters)]


@pytest.fixture(scope="module", params=BACKENDS)
def scene(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with closing(House(tmp_path_factory.mktemp("lineage"), new_database(request.param))) as house:
        house.open().apply_policy(ONE_APPROVAL)
        yield set_up(house)


def set_up(house: House) -> Scene:
    word = f"l{secrets.token_hex(3)}"
    seen, hidden, near = f"{word}-in", f"{word}-out", f"near-{word}"
    house.call("admin", "POST", "/principals", {"name": near, "roles": [f"viewer:{seen}*"]})
    house.tokens[near] = house.call("admin", "POST", "/tokens", {"principal": near})["token"]
    runs: dict[str, str] = {}
    with house.acting_as("ada") as client:
        experiments = {name: client.create_experiment(f"{name}-experiment") for name in (seen, hidden)}
        for model in (seen, hidden):
            client.create_registered_model(model)
        # In the model that is seen: two runs of the new data, one of the old, and one of an experiment that is not.
        for model, experiment, data, auc in (
            (seen, seen, "new", 0.9),
            (seen, seen, "old", 0.8),
            (seen, seen, "new", 0.7),
            (seen, hidden, "new", 0.95),
            (hidden, hidden, "new", 0.99),
            (hidden, seen, "new", 0.6),
        ):
            run = client.create_run(experiments[experiment]).info.run_id
            tags = [RunTag("data_version", f"{word}-{data}"), RunTag("long", "x" * 300 + data)]
            client.log_batch(run, [Metric("auc", auc, 1, 0)], [Param("depth", "6")], tags)
            client.log_inputs(run, [DatasetInput(logged(f"{word}-{data}")._to_mlflow_entity())])
            version = client.create_model_version(model, f"runs:/{run}/model", run, await_creation_for=0)
            client.set_model_version_tag(model, version.version, "team", "fraud")
            runs[f"{model}/{version.version}"] = run
        client.update_model_version(seen, "1", description="the first")
        client.create_prompt(f"{seen}-p")
        client.create_prompt_version(f"{seen}-p", "Be brief.")
    house.promote(seen, "1", "alias:champion")
    house.promote(seen, "1", "stage:Production")
    house.ask(seen, "3", "stage:Production")
    return Scene(house, seen, hidden, f"{word}-new", runs, near)


def logged(name: str) -> MetaDataset:
    return MetaDataset(HTTPDatasetSource(f"https://data.example.com/{name}"), name=name, digest=f"d-{name}"[:36])


# What is found


def test_the_article_finds_the_same_versions(scene: Scene) -> None:
    with scene.house.acting_as("vic"):
        theirs = article.find_models_by_data_version(scene.data)
    ours = [
        {"model": one["model"], "version": one["version"], "stage": one["stage"]}
        for one in scene.ask(**{"run_tag.data_version": scene.data})
    ]
    assert len(ours) == 5
    by_place = [{**one, "version": str(one["version"])} for one in theirs]
    assert ours == sorted(by_place, key=lambda one: (one["model"], int(one["version"])))


def test_the_article_reports_the_same(scene: Scene) -> None:
    with scene.house.acting_as("vic"):
        theirs = article.get_registry_report(scene.seen)
        created = {
            str(v.version): v.creation_timestamp for v in MlflowClient().search_model_versions(f"name='{scene.seen}'")
        }
    ours = scene.house.call("vic", "GET", f"/models/{scene.seen}/report")
    assert {key: ours[key] for key in ("model", "total_versions", "by_stage")} == {
        key: theirs[key] for key in ("model", "total_versions", "by_stage")
    }
    assert ours["total_versions"] == len(ours["versions"]) == 4
    for mine, other in zip(ours["versions"], theirs["versions"], strict=True):
        assert mine["version"] == str(other["version"])
        for key in ("stage", "run_id", "metrics", "tags"):
            assert mine[key] == other[key], key
        assert mine["description"] == (other["description"] or "")
        assert milliseconds(mine["created"]) == other["created"] == created[mine["version"]]


def milliseconds(time: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(time).timestamp() * 1000)


def test_the_report_says_who_holds_what_and_who_approved_it(scene: Scene) -> None:
    told = scene.house.call("vic", "GET", f"/models/{scene.seen}/report")
    held = {one["target"]: one for one in told["holders"]}
    assert set(held) == {"alias:champion", "stage:Production"}
    for one in held.values():
        assert (one["version"], one["how"], one["by"], one["approved_by"]) == ("1", "promotion", "bot", ["sue"])
        assert one["to"] is None
    first = told["versions"][0]
    assert first["aliases"] == ["champion"]
    assert {one["target"]: one["how"] for one in first["holds"]} == dict.fromkeys(held, "promotion")
    (waiting,) = told["versions"][2]["requests"]
    assert (waiting["target"], waiting["state"]) == ("stage:Production", "open")
    assert scene.house.call("vic", "GET", f"/requests/{waiting['id']}")["url"] == waiting["url"]


def test_conditions_find_what_meets_all_of_them(scene: Scene) -> None:
    seen, hidden, tag = scene.seen, scene.hidden, {"run_tag.data_version": scene.data}
    digest = f"d-{scene.data}"[:36]
    of_seen = [(seen, number) for number in "134"]
    everything = [*of_seen, (hidden, "1"), (hidden, "2")]
    assert scene.found(**tag) == everything
    assert scene.found(**tag, stage="production") == [(seen, "1")]
    assert scene.found(**tag, alias="champion") == [(seen, "1")]
    assert scene.found(**tag, alias="nobody") == []
    assert scene.found(**tag, model=seen) == of_seen
    assert scene.found(dataset_digest=digest) == everything
    assert scene.found(dataset_name=scene.data, dataset_digest=digest) == everything
    assert scene.found(dataset_name=scene.data, dataset_digest="other") == []
    assert scene.found(**tag, **{"metric.auc>": 0.9}) == [(seen, "1"), (seen, "4"), (hidden, "1")]
    assert scene.found(**tag, **{"metric.auc>": 0.9, "metric.auc<": 0.9}) == [(seen, "1")]
    assert scene.found(**tag, **{"run_param.depth": "6"}) == everything
    assert scene.found(**tag, **{"run_param.depth": "7"}) == []
    assert scene.found(**tag, **{"tag.team": "fraud"}) == everything
    assert scene.found(run_id=scene.runs[f"{seen}/2"]) == [(seen, "2")]
    assert scene.found(model=seen, **{"run_tag.long": "x" * 300 + "old"}) == [(seen, "2")]
    assert scene.found(model=seen, **{"run_tag.long": "x" * 300}) == []
    assert scene.found(model=f"{seen}-p") == []


def test_a_condition_is_not_part_of_a_statement(scene: Scene) -> None:
    for evil in ("' OR 1=1 --", "%", "\\", '"', "data_version' IS NOT NULL --"):
        assert scene.found(**{"run_tag.data_version": evil}) == []
        assert scene.found(**{f"run_tag.{evil}": scene.data}) == []
        assert scene.found(model=evil) == []


def test_what_is_shown_is_what_was_asked_for(scene: Scene) -> None:
    (lean,) = scene.ask(**{"run_tag.data_version": scene.data}, alias="champion")
    assert lean["run_tags"] == {"data_version": scene.data}
    assert (lean["metrics"], lean["params"], lean["tags"], lean["datasets"]) == ({}, {}, {}, [])
    (whole,) = scene.ask(alias="champion", show="metrics,params,run_tags,tags,datasets")
    assert (whole["metrics"], whole["params"], whole["tags"]) == ({"auc": 0.9}, {"depth": "6"}, {"team": "fraud"})
    assert whole["datasets"] == [{"name": scene.data, "digest": f"d-{scene.data}"[:36]}]
    assert set(whole["run_tags"]) == {"data_version", "long"}
    assert (whole["description"], whole["run_id"], whole["cut"]) == ("the first", scene.runs[f"{scene.seen}/1"], [])


def test_of_a_version_so_much_is_shown_and_no_more(scene: Scene) -> None:
    house, name = scene.house, f"{scene.seen}-much"
    with house.acting_as("ada") as client:
        client.create_registered_model(name)
        run = client.create_run("0", tags={"mlflow.user": "ada"}).info.run_id
        client.log_batch(run, [Metric(f"m{n:03}", n, 1, 0) for n in range(150)])
        client.log_metric(run, "a", float("nan"))
        client.log_param(run, "long", "x" * 600)
        client.create_model_version(name, f"runs:/{run}/model", run, await_creation_for=0)
    (one,) = scene.ask(model=name, show="metrics,params")
    assert len(one["metrics"]) == 100
    assert one["metrics"]["a"] is None
    assert one["cut"] == ["metrics"]
    assert one["params"]["long"] == "x" * 500 + "…"
    assert scene.found(model=name, **{"metric.a>": -1}) == []  # what is not a number is not above anything
    (exact,) = scene.ask(model=name, **{"metric.m149>": 149})
    assert (exact["metrics"], exact["cut"]) == ({"m149": 149.0}, [])
    (among,) = scene.ask(model=name, show="metrics,run_tags", **{"metric.m149>": 149, "run_tag.mlflow.user": "ada"})
    assert (len(among["metrics"]), among["metrics"]["m149"], among["cut"]) == (100, 149.0, ["metrics"])
    assert among["run_tags"] == {"mlflow.user": "ada"}


def test_what_was_deleted_is_not_found(scene: Scene) -> None:
    house, name = scene.house, f"{scene.seen}-gone"
    with house.acting_as("ada") as client:
        client.create_registered_model(name)
        for _ in range(2):
            house.new_version(client, name)
    with house.acting_as("admin") as client:
        client.delete_model_version(name, "1")
    assert scene.found(model=name) == [(name, "2")]
    told = house.call("vic", "GET", f"/models/{name}/report")
    assert (told["total_versions"], told["by_stage"]) == (1, {"None": 1})
    assert scene.found(run_id="REDACTED-RUN-ID") == []


# Who sees what


def test_who_may_not_see_a_model_or_an_experiment_finds_nothing_by_it(scene: Scene) -> None:
    near, seen, hidden = scene.near, scene.seen, scene.hidden
    # Version 4 of the seen model is of a run that may not be seen, version 2 of the hidden one is the other way round.
    assert scene.found(near, **{"run_tag.data_version": scene.data}) == [(seen, "1"), (seen, "3")]
    assert scene.found(near, dataset_name=scene.data) == [(seen, "1"), (seen, "3")]
    assert scene.found(near, model=seen, **{"metric.auc>": 0.0}) == [(seen, number) for number in "123"]
    assert scene.found(near, model=seen, **{"run_param.depth": "6"}) == [(seen, number) for number in "123"]
    assert scene.found(near, model=hidden) == []
    assert scene.found(near, run_id=scene.runs[f"{hidden}/2"]) == []
    assert scene.found(near, **{"tag.team": "fraud"}) == [(seen, number) for number in "1234"]


def test_of_a_run_that_may_not_be_seen_nothing_is_shown(scene: Scene) -> None:
    shown = scene.ask(scene.near, model=scene.seen, show="metrics,params,run_tags,datasets,tags")
    said = {one["version"]: [one[kind] for kind in ("metrics", "params", "run_tags", "datasets")] for one in shown}
    assert said["4"] == [{}, {}, {}, []]
    assert all(said["1"])
    told = scene.house.call(scene.near, "GET", f"/models/{scene.seen}/report")
    assert [bool(one["metrics"]) for one in told["versions"]] == [True, True, True, False]


def test_the_report_of_what_may_not_be_seen_is_that_of_nothing(scene: Scene) -> None:
    hidden = scene.house.call(scene.near, "GET", f"/models/{scene.hidden}/report", status=404)
    nothing = scene.house.call(scene.near, "GET", "/models/nothing/report", status=404)
    assert hidden["message"].replace(scene.hidden, "nothing") == nothing["message"]
    scene.house.call("vic", "GET", f"/models/{scene.seen}-p/report", status=404)


def test_who_has_no_role_finds_nothing(scene: Scene) -> None:
    who = f"none-{scene.seen}"
    scene.house.call("admin", "POST", "/principals", {"name": who, "roles": []})
    scene.house.tokens[who] = scene.house.call("admin", "POST", "/tokens", {"principal": who})["token"]
    answer = scene.house.http(who).get(LINEAGE, params={"model": scene.seen})
    assert answer.status_code == 403 or answer.json()["versions"] == []
    assert httpx.get(f"{scene.house.uri}{LINEAGE}?model={scene.seen}").status_code == 401


@pytest.mark.parametrize("kind", BACKENDS)
def test_each_workspace_has_its_own(kind: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    with closing(House(tmp_path, new_database(kind), "--enable-workspaces")) as house:
        house.open().http("admin").post("/api/3.0/mlflow/workspaces", json={"name": "team-b"}).raise_for_status()
        bearer = {"Authorization": f"Bearer {house.tokens['ada']}"}
        runs = {}
        for workspace in ("default", "team-b"):
            with httpx.Client(base_url=house.uri, headers={**bearer, "X-MLFLOW-WORKSPACE": workspace}) as ada:
                api = "/api/2.0/mlflow"
                experiment = ada.post(f"{api}/experiments/create", json={"name": "e"}).json()["experiment_id"]
                tags = [{"key": "data_version", "value": "v7"}]
                made = ada.post(f"{api}/runs/create", json={"experiment_id": experiment, "tags": tags}).json()
                runs[workspace] = made["run"]["info"]["run_id"]
                ada.post(f"{api}/registered-models/create", json={"name": "same"}).raise_for_status()
                body = {"name": "same", "source": f"runs:/{runs[workspace]}/model", "run_id": runs[workspace]}
                for _ in range(2):
                    ada.post(f"{api}/model-versions/create", json=body).raise_for_status()
        # As if it were of a run of another workspace.
        house.sql(f"UPDATE model_versions SET run_id = '{runs['default']}' WHERE workspace = 'team-b' AND version = 2")
        for workspace, numbers in (("default", ["1", "2"]), ("team-b", ["1"])):
            with httpx.Client(base_url=house.uri, headers={**bearer, "X-MLFLOW-WORKSPACE": workspace}) as ada:
                found = ada.get(LINEAGE, params={"run_tag.data_version": "v7"}).json()["versions"]
                assert [one["version"] for one in found] == numbers
                assert {one["run_id"] for one in found} == {runs[workspace]}
                every = ada.get(LINEAGE, params={"model": "same", "show": "run_tags"}).json()["versions"]
                assert [one["version"] for one in every] == ["1", "2"]
                assert [one["version"] for one in every if one["run_tags"]] == numbers


@pytest.mark.parametrize("kind", BACKENDS)
def test_runs_are_found_in_another_database(kind: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    registry = new_database(kind)
    with closing(House(tmp_path, new_database(kind), "--registry-store-uri", registry)) as house:
        model = house.open().new_model(versions=2)
        (first, _) = house.call("vic", "GET", f"/models/{model}/report")["versions"]
        assert first["metrics"] == {"val_auc": 0.9}
        with house.acting_as("ada") as client:
            client.set_tag(first["run_id"], "data_version", "v7")
        answer = house.http("vic").get(LINEAGE, params={"run_tag.data_version": "v7"}).raise_for_status().json()
        (found,) = answer["versions"]
        assert (found["version"], found["run_tags"]) == ("1", {"data_version": "v7"})


# Pages and refusals


def test_pages_are_full_and_lead_on(scene: Scene) -> None:
    asked: dict[str, Any] = {"run_tag.data_version": scene.data, "max_results": 2}
    for who, sizes in (("vic", [2, 2, 1]), (scene.near, [2])):
        found: list[tuple[str, str]] = []
        lengths, token = [], None
        while True:
            page = scene.house.http(who).get(LINEAGE, params={**asked, **({"page_token": token} if token else {})})
            told = page.raise_for_status().json()
            lengths.append(len(told["versions"]))
            found += [(one["model"], one["version"]) for one in told["versions"]]
            token = told["next_page_token"]
            if token is None:
                break
        assert lengths == sizes
        assert found == scene.found(who, **{"run_tag.data_version": scene.data})
    first = scene.house.http("vic").get(LINEAGE, params=asked).json()["next_page_token"]
    clear(scene.house.http("vic").get(LINEAGE, params={"model": scene.seen, "page_token": first}))


def test_a_report_has_pages_too(scene: Scene) -> None:
    path = f"/models/{scene.seen}/report?max_results=3"
    first = scene.house.call("vic", "GET", path)
    second = scene.house.call("vic", "GET", f"{path}&page_token={first['next_page_token']}")
    assert [one["version"] for one in (*first["versions"], *second["versions"])] == list("1234")
    assert (second["total_versions"], second["next_page_token"]) == (4, None)


@pytest.mark.parametrize(
    "query",
    [
        "", "max_results=5", "show=metrics", "run_tag=x", "run_tag.=x", "stages=Production", "stage=Prod", "model=",
        "metric.auc=0.9", "metric.auc%3E=much", "metric.auc%3E=nan", "run_tag.a=1&run_tag.a=2", "model=m&show=secrets",
        "model=m&max_results=0", "model=m&max_results=1001", "model=m&page_token=x", "model=m&page_token=%F0%9F%92%A9",
        "model=a%00b", "run_tag.a%00b=x", "run_tag.%F0%28=%FF%00", "&".join(f"tag.{n}=x" for n in range(21)),
    ],
)  # fmt: skip
def test_what_is_no_search_is_refused_clearly(scene: Scene, query: str) -> None:
    answer = scene.house.http("vic").get(f"{LINEAGE}?{query}")
    if scene.house.backend.startswith("sqlite") and "%00" in query and answer.is_success:
        assert answer.json()["versions"] == []  # there it is a character like others
        return
    clear(answer)


# How many statements


def test_a_thousand_versions_take_as_many_statements_as_one(
    postgres: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    with closing(House(tmp_path, new_database("postgresql"))) as house:
        house.open()
        with house.acting_as("ada") as client:
            for model in ("one", "many"):
                client.create_registered_model(model)
                house.new_version(client, model)
        house.sql(_MANY)
        paths = (
            "/lineage?model={}&max_results=1000&show=metrics,params,run_tags,tags,datasets",
            "/lineage?model={}&max_results=1000&metric.val_auc%3E=0.1&run_tag.data_version=v7",
            "/models/{}/report",
        )
        for path, most in zip(paths, (12, 10, 13), strict=True):
            counts = {model: _fewest(house, postgres, path.format(model)) for model in ("one", "many")}
            assert len(counts["many"]) == len(counts["one"]) <= most, "\n".join(counts["many"])
        assert len(house.call("vic", "GET", paths[1].format("many"))["versions"]) == 1000
        assert house.call("vic", "GET", paths[2].format("many"))["total_versions"] == 1000


def _fewest(house: House, postgres: str, path: str) -> list[str]:
    """Return the statements of a call: other servers of the tests use the same PostgreSQL, so the least of several."""
    tries = []
    for _ in range(3):
        with statements(postgres) as told:
            house.call("vic", "GET", path)
        tries.append(told)
    return min(tries, key=len)


#: A thousand versions of `many`, in all, each of a run of its own; and the same tag for the run of `one`.
_MANY = """
    INSERT INTO runs (run_uuid, name, source_type, status, start_time, lifecycle_stage, artifact_uri, experiment_id)
    SELECT 'many' || n, 'r', 'LOCAL', 'FINISHED', 1, 'active', 'x', 0 FROM generate_series(2, 1000) n;
    INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
    SELECT 'val_auc', 0.9, 1, 0, false, 'many' || n FROM generate_series(2, 1000) n;
    INSERT INTO model_versions (workspace, name, version, creation_time, last_updated_time, current_stage, source,
                                run_id, status)
    SELECT 'default', 'many', n, 1, 1, 'None', 'x', 'many' || n, 'READY' FROM generate_series(2, 1000) n;
    INSERT INTO tags (key, value, run_uuid)
    SELECT 'data_version', 'v7', run_uuid FROM runs;
"""


# Commands


def test_the_commands_tell_the_same(scene: Scene, tmp_path: Path) -> None:
    house, tag = scene.house, f"data_version={scene.data}"
    asked = ("lineage", "--run-tag", tag, "--metric", "auc>=0.9", "--show", "params")
    table = house.cli("vic", *asked)
    assert table.returncode == 0, table.stderr
    assert [line.split()[:2] for line in table.stdout.splitlines()[1:]] == [
        [scene.seen, "1"],
        [scene.seen, "4"],
        [scene.hidden, "1"],
    ]
    assert "auc=0.9" in table.stdout
    whole = json.loads(house.cli("vic", *asked, "--json").stdout)["versions"]
    assert [one["metrics"]["auc"] for one in whole] == [0.9, 0.95, 0.99]
    rows = list(csv.DictReader(io.StringIO(house.cli("vic", *asked, "--format", "csv").stdout)))
    assert [(row["model"], row["version"], row["run_param.depth"]) for row in rows] == [
        (one["model"], one["version"], "6") for one in whole
    ]
    out = tmp_path / "versions.parquet"
    assert house.cli("vic", *asked, "--format", "parquet", "--out", str(out)).returncode == 0
    assert parquet.read_table(out).column("metric.auc").to_pylist() == [0.9, 0.95, 0.99]


def test_the_command_reports(scene: Scene) -> None:
    told = scene.house.cli("vic", "report", scene.seen)
    assert told.returncode == 0, told.stderr
    assert f"{scene.seen}: 4 versions" in told.stdout
    assert "sue" in told.stdout
    assert "auc=0.9" in told.stdout
    assert json.loads(scene.house.cli("vic", "report", scene.seen, "--format", "json").stdout)["total_versions"] == 4
    assert scene.house.cli("vic", "report", "nothing").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["lineage"],
        ["lineage", "--run-tag", "data_version"],
        ["lineage", "--run-tag", "a=1", "--run-tag", "a=2"],
        ["lineage", "--model", "m", "--format", "parquet"],
        ["report", "m", "--out", "x"],
    ],
)
def test_wrong_usage_is_said_before_anybody_is_asked(scene: Scene, arguments: list[str]) -> None:
    told = scene.house.cli("vic", *arguments)
    assert told.returncode == 2
    assert "Error: " in told.stderr
