"""The parameters of lineage, its page tokens, and versions as rows for other programs."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from pyarrow import parquet

from lockgate.cli.export import all_pages, export, form_asked_for, harmless
from lockgate.cli.flat import rows_of
from lockgate.errors import BadInput
from lockgate.registry.each import ALL_KEYS, NO_KEYS, Keys
from lockgate.registry.lineage import Between, Wanted
from lockgate.server.conditions import MAX_CONDITIONS, conditions_of, read_conditions, shown_with
from lockgate.server.paging import Listing

# Conditions


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("run_tag.data_version", "v7", Wanted(run_tags={"data_version": "v7"})),
        ("run_tag.mlflow.source.git.commit", "a=b", Wanted(run_tags={"mlflow.source.git.commit": "a=b"})),
        ("run_tag.empty", "", Wanted(run_tags={"empty": ""})),
        ("run_param.depth", "6", Wanted(run_params={"depth": "6"})),
        ("tag.reviewer", "sue", Wanted(tags={"reviewer": "sue"})),
        ("metric.val_auc>", "0.9", Wanted(metrics={"val_auc": Between(at_least=0.9)})),
        ("metric.a.b/c d<", "-1e3", Wanted(metrics={"a.b/c d": Between(at_most=-1000.0)})),
        ("run_id", "r", Wanted(run_id="r")),
        ("dataset_name", "n", Wanted(dataset_name="n")),
        ("dataset_digest", "d", Wanted(dataset_digest="d")),
        ("model", "m", Wanted(model="m")),
        ("alias", "champion", Wanted(alias="champion")),
        ("stage", "pRODUCTION", Wanted(stage="Production")),
        ("stage", "none", Wanted(stage="None")),
    ],
)
def test_a_condition_is_read(name: str, value: str, wanted: Wanted) -> None:
    assert read_conditions([(name, value)]) == wanted


def test_a_metric_may_lie_between_two_numbers() -> None:
    assert read_conditions([("metric.auc>", "0.5"), ("metric.auc<", "1")]).metrics == {"auc": Between(0.5, 1.0)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "at least one condition"),
        ([("run_tag.a", "1"), ("run_tag.a", "2")], "given twice"),
        ([("run_tag.", "1")], "is no condition"),
        ([("run_tag", "1")], "is no condition"),
        ([("metric.", "1")], "is no condition"),
        ([("stages", "Production")], "is no condition"),
        ([("stage", "Deleted_Internal")], "is no stage"),
        ([("run_id", "")], "run_id is empty"),
        ([("metric.auc", "0.9")], "is no bound"),
        ([("metric.auc>0.9", "")], "is no bound"),
        ([("metric.>", "0.9")], "is no bound"),
        ([("metric.auc>", "nan")], "is no bound"),
        ([("metric.auc>", "inf")], "is no bound"),
        ([("metric.auc>", "much")], "is no bound"),
        ([(f"run_tag.{n}", "x") for n in range(MAX_CONDITIONS + 1)], "are taken at most"),
    ],
)
def test_what_is_no_condition_is_refused(given: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read_conditions(given)


def test_what_is_beside_conditions_is_none() -> None:
    given = [("stage", "Staging"), ("page_token", "t"), ("max_results", "1"), ("show", "metrics"), ("alias", "a")]
    assert conditions_of(given) == [("alias", "a"), ("stage", "Staging")]


def test_a_version_is_shown_with_what_it_was_found_by() -> None:
    wanted = Wanted(run_tags={"data_version": "v7"}, metrics={"auc": Between(0.5)}, dataset_name="n")
    shown = shown_with("", wanted)
    assert (shown.of_run.tags, shown.of_run.metrics) == (Keys(frozenset({"data_version"})), Keys(frozenset({"auc"})))
    assert (shown.of_run.params, shown.tags, shown.of_run.datasets) == (NO_KEYS, NO_KEYS, True)
    everything = shown_with("metrics, params,run_tags,tags,datasets", wanted)
    assert everything.of_run.metrics == Keys(frozenset({"auc"}), others=True)
    assert (everything.of_run.params, everything.tags) == (ALL_KEYS, ALL_KEYS)
    with pytest.raises(BadInput, match="'secrets' can't be shown"):
        shown_with("metrics,secrets", Wanted())


# Pages


@pytest.mark.parametrize("position", ["3:model", "12:é.ü:雪", "1:" + "x" * 256])
def test_a_token_leads_to_where_the_page_ended(position: str) -> None:
    listing = Listing("lineage", (("stage", "Production"),))
    assert listing.position(listing.token_at(position)) == position
    with pytest.raises(BadInput):
        Listing("lineage", (("stage", "Staging"),)).position(listing.token_at(position))
    with pytest.raises(BadInput):
        listing.start(listing.token_at(position))


def test_all_pages_are_one_list() -> None:
    pages: dict[str | None, dict[str, Any]] = {
        None: {"model": "m", "versions": [1, 2], "next_page_token": "a"},
        "a": {"model": "m", "versions": [3], "next_page_token": "b"},
        "b": {"model": "m", "versions": [], "next_page_token": None},
    }
    assert all_pages(pages.__getitem__) == {"model": "m", "versions": [1, 2, 3]}


# Rows


def version(**changes: Any) -> dict[str, Any]:
    return {
        "model": "m", "version": "1", "stage": "None", "aliases": ["a", "b"], "created": "2026-05-12T14:00:00.123Z",
        "run_id": None, "source": "runs:/r/model", "description": "", "tags": {}, "metrics": {}, "params": {},
        "run_tags": {}, "datasets": [], "holds": [], "requests": [], "cut": [],
    } | changes  # fmt: skip


VERSIONS = [
    version(metrics={"auc": 0.9, "loss": None}, run_tags={"data_version": "v7"}, holds=[{"target": "alias:a"}]),
    version(version="2", metrics={"auc": -0.5}, params={"x": "-1"}, datasets=[{"name": "d", "digest": "1"}]),
]


def test_there_is_a_column_for_each_key_that_any_version_has() -> None:
    columns, rows = rows_of(VERSIONS)
    assert columns[:3] == ["model", "version", "stage"]
    assert columns[-4:] == ["metric.auc", "metric.loss", "run_param.x", "run_tag.data_version"]
    assert rows[0]["aliases"] == "a b"
    assert rows[0]["holds"] == "alias:a"
    assert rows[1]["datasets"] == "d@1"
    assert "metric.loss" not in rows[1]
    assert rows_of([])[0][0] == "model"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert harmless(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["a=b", "", " =1", "'=1", -0.5, 1.0, None])
def test_other_cells_stay_as_they_are(cell: Any) -> None:
    assert harmless(cell) == cell


def test_csv_is_read_back(tmp_path: Path) -> None:
    evil = version(description='=HYPERLINK("http://evil")', run_tags={"=k": 'a,"b"\nc'})
    export({"versions": [*VERSIONS, evil]}, "csv", tmp_path / "out.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_bytes().decode(), newline="")))
    assert [row["metric.auc"] for row in rows] == ["0.9", "-0.5", ""]
    assert [row["metric.loss"] for row in rows] == ["nan", "", ""]
    assert rows[1]["run_param.x"] == "'-1"
    assert rows[2]["description"] == '\'=HYPERLINK("http://evil")'
    assert rows[2]["run_tag.=k"] == 'a,"b"\nc'


def test_parquet_is_read_back_with_its_types(tmp_path: Path) -> None:
    export({"versions": VERSIONS}, "parquet", tmp_path / "out.parquet")
    read = parquet.read_table(tmp_path / "out.parquet")
    assert read.column("metric.auc").to_pylist() == [0.9, -0.5]
    assert read.column("run_param.x").to_pylist() == [None, "-1"]
    assert read.column("created").to_pylist()[0].isoformat() == "2026-05-12T14:00:00.123000+00:00"
    loss = read.column("metric.loss").to_pylist()
    assert loss[0] != loss[0]  # logged, and not a number
    assert loss[1] is None
    export({"versions": []}, "parquet", tmp_path / "empty.parquet")
    assert parquet.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_parquet_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match="pip install pyarrow"):
        export({"versions": []}, "parquet", tmp_path / "out.parquet")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't be written"):
        export({"versions": []}, "json", tmp_path / "nowhere" / "out.json")


def test_forms_and_files_go_together(tmp_path: Path) -> None:
    assert form_asked_for("table", True, None) == "json"
    assert form_asked_for("csv", False, None) == "csv"
    for form, out in (("parquet", None), ("table", tmp_path / "x")):
        with pytest.raises(click.UsageError):
            form_asked_for(form, False, out)
