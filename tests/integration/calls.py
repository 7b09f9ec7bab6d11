"""Calls of the model registry's REST API, good and bad, in the sequences in which they make sense.

Each sequence begins with an empty registry. `<run>`, `<other run>` and `<logged model>` stand for the ids of things
that are there before: they are put in on the way out, and found again in the answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

IS_PROMPT = "mlflow.prompt.is_prompt"
PROMPTS = f"tags.`{IS_PROMPT}` = 'true'"


@dataclass(frozen=True)
class Call:
    """One HTTP call. A path without a slash in front is one of the API's, and goes behind one of its prefixes."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    #: Sent as it is, instead of a JSON body.
    raw: bytes | None = None
    content_type: str = "application/json"
    #: What the table of known differences calls it.
    name: str = ""

    def __str__(self) -> str:
        parts = [self.method, self.path, f"{dict(self.query)}" if self.query else ""]
        parts.append("" if self.body is None else f"{self.body}")
        parts.append("" if self.raw is None else f"{self.raw!r} as {self.content_type!r}")
        shown = " ".join(part for part in parts if part)
        shown = shown if len(shown) < 400 else f"{shown[:300]}... ({len(shown)} characters)"
        return f"{shown}  [{self.name}]" if self.name else shown


def get(path: str, /, **query: Any) -> Call:
    return Call("GET", path, query)


def post(path: str, /, **body: Any) -> Call:
    return Call("POST", path, body=body)


def patch(path: str, /, **body: Any) -> Call:
    return Call("PATCH", path, body=body)


def delete(path: str, /, **body: Any) -> Call:
    return Call("DELETE", path, body=body)


def raw(method: str, path: str, content: bytes, content_type: str = "application/json") -> Call:
    return Call(method, path, raw=content, content_type=content_type)


def named(name: str, call: Call) -> Call:
    return replace(call, name=name)


# The calls that set the stage, as short as they are frequent.


def model(name: Any, **more: Any) -> Call:
    return post("registered-models/create", name=name, **more)


def version(name: Any, source: Any = "s3://models/any", **more: Any) -> Call:
    return post("model-versions/create", name=name, source=source, **more)


def stage(name: str, number: Any, to: Any, **more: Any) -> Call:
    return post("model-versions/transition-stage", name=name, version=number, stage=to, **more)


def alias(name: str, called: Any, number: Any) -> Call:
    return post("registered-models/alias", name=name, alias=called, version=number)


def tags(**pairs: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in pairs.items()]


def prompt(name: str) -> Call:
    return model(name, tags=tags(**{IS_PROMPT: "true"}))


def look(name: str) -> list[Call]:
    """Everything there is to see of a model."""
    return [
        get("registered-models/get", name=name),
        get("registered-models/get-latest-versions", name=name),
        get("model-versions/search", filter=f"name = '{name}'"),
        get("registered-models/search", filter=f"name = '{name}'"),
    ]


EVERY_ROUTE = [
    model("churn", description="who leaves", tags=tags(team="growth")),
    version("churn", "runs:/<run>/model", run_id="<run>", description="first", tags=tags(auc="0.9")),
    version("churn", "runs:/<other run>/model", run_id="<other run>", run_link="http://elsewhere/runs/1"),
    get("registered-models/get", name="churn"),
    patch("registered-models/update", name="churn", description="who stays"),
    get("registered-models/search"),
    post("registered-models/set-tag", name="churn", key="tier", value="1"),
    delete("registered-models/delete-tag", name="churn", key="team"),
    alias("churn", "champion", "1"),
    get("registered-models/alias", name="churn", alias="champion"),
    get("model-versions/get", name="churn", version="1"),
    patch("model-versions/update", name="churn", version="1", description="the first"),
    post("model-versions/set-tag", name="churn", version="1", key="checked", value="yes"),
    delete("model-versions/delete-tag", name="churn", version="1", key="auc"),
    stage("churn", "1", "Production"),
    stage("churn", "2", "Production", archive_existing_versions=True),
    get("model-versions/search", filter="name = 'churn'"),
    get("registered-models/get-latest-versions", name="churn"),
    post("registered-models/get-latest-versions", name="churn", stages=["Production"]),
    get("model-versions/get-download-uri", name="churn", version="2"),
    delete("registered-models/alias", name="churn", alias="champion"),
    post("registered-models/rename", name="churn", new_name="attrition"),
    delete("model-versions/delete", name="attrition", version="1"),
    *look("attrition"),
    delete("registered-models/delete", name="attrition"),
    get("registered-models/get", name="attrition"),
]

MODELS = [
    model("churn"),
    model("churn"),
    named("again with a bad tag", model("churn", tags=[{"key": "a*b", "value": "1"}])),
    model("Churn"),
    model("churn ", description=""),
    model(" churn", description="blank in front", tags=[]),
    model("Ünïcödé 模型", description="Größe\n\ttabs, „quotes“ and ✓", tags=tags(größe="✓ 模型")),
    model("Caf\u00e9", description="composed"),
    model("Cafe\u0301", description="decomposed"),
    model('it\'s "quoted" `and` back\\slashed; -- %s %(name)s {name}'),
    model("tagged", tags=[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}, {"key": "b", "value": ""}]),
    model("half a tag", tags=[{"key": "no value"}]),
    model("no key", tags=[{"value": "no key"}]),
    model("bad tag", tags=[{"key": "a*b", "value": "1"}]),
    model("bad tag", tags=[{"key": "../up", "value": "1"}]),
    model("bad tag", tags=[{"key": "", "value": "1"}]),
    model("bad tag", tags=[{"key": "k" * 251, "value": "1"}]),
    model("bad tag", tags=[{"key": "k", "value": "v" * 100_001}]),
    model("bad/name", tags=[{"key": "a*b", "value": "1"}]),
    model("bad:name"),
    model("."),
    model(".."),
    model("a/../b"),
    model(""),
    model("   "),
    *[get("registered-models/get", name=name) for name in ("churn", "Churn", "churn ", " churn", "CHURN")],
    *[get("registered-models/get", name=name) for name in ("Caf\u00e9", "Cafe\u0301", "Ünïcödé 模型", "tagged")],
    *[get("registered-models/get", name=name) for name in ("nobody", "", " ", "a/b", "half a tag", "no key")],
    patch("registered-models/update", name="churn", description="mended"),
    patch("registered-models/update", name="churn", description="Größe ✓"),
    patch("registered-models/update", name="churn"),
    patch("registered-models/update", name="churn", description=None),
    patch("registered-models/update", name="churn", description=7),
    patch("registered-models/update", name="churn", deployment_job_id="job-1"),
    patch("registered-models/update", name="nobody", description="x"),
    patch("registered-models/update", name="", description="x"),
    patch("registered-models/update", name="a/b", description="x"),
    delete("registered-models/delete", name="nobody"),
    delete("registered-models/delete", name=""),
    delete("registered-models/delete", name="a:b"),
    delete("registered-models/delete", name="tagged"),
    delete("registered-models/delete", name="tagged"),
    Call("DELETE", "registered-models/delete", query={"name": "Churn"}),
    *look("churn"),
]

MISSING_AND_MISTYPED = [
    model("churn"),
    version("churn"),
    *[
        Call(method, path, body=body)
        for method, path in (
            ("POST", "registered-models/create"),
            ("POST", "registered-models/rename"),
            ("PATCH", "registered-models/update"),
            ("DELETE", "registered-models/delete"),
            ("GET", "registered-models/get"),
            ("POST", "registered-models/get-latest-versions"),
            ("POST", "registered-models/set-tag"),
            ("DELETE", "registered-models/delete-tag"),
            ("POST", "registered-models/alias"),
            ("DELETE", "registered-models/alias"),
            ("GET", "registered-models/alias"),
            ("POST", "model-versions/create"),
            ("GET", "model-versions/get"),
            ("PATCH", "model-versions/update"),
            ("DELETE", "model-versions/delete"),
            ("POST", "model-versions/transition-stage"),
            ("POST", "model-versions/set-tag"),
            ("DELETE", "model-versions/delete-tag"),
            ("GET", "model-versions/get-download-uri"),
        )
        for body in ({}, {"name": "churn"}, {"name": 7})
        if (path, body) != ("registered-models/delete", {"name": "churn"})
    ],
    model(None),
    model(["typed"]),
    model("typed", description=7),
    model("typed", tags="none"),
    model("typed", tags={"key": "a"}),
    model("typed", tags=["a"]),
    model("typed", tags=[{"key": "a", "value": 1}]),
    model("typed", tags=[{"key": "a", "value": True}]),
    model("typed", unknown="field"),
    version("churn", source=7),
    version("churn", source=None),
    version("churn", source=""),
    version("churn", run_id=7),
    version("churn", tags="a"),
    version("churn", description=["x"]),
    version(None),
    version(7, source=7),
    get("model-versions/get", name="churn", version=["1", "2"]),
    Call("GET", "model-versions/get", body={"name": "churn", "version": 1}),
    patch("model-versions/update", name="churn", version=1, description="a number"),
    delete("model-versions/delete", name="churn", version=1),
    delete("model-versions/delete", name="churn", version=1.0),
    stage("churn", 1, "Staging"),
    stage("churn", "1", 1),
    stage("churn", "1", None),
    stage("churn", "1", ["Staging"]),
    *[stage("churn", "1", "Staging", archive_existing_versions=value) for value in ("true", "yes", 1, None, [], False)],
    alias("churn", "champion", 1),
    alias("churn", 7, "1"),
    post("model-versions/set-tag", name="churn", version=1, key="a", value="1"),
    post("model-versions/set-tag", name="churn", version="1", key="a"),
    post("model-versions/set-tag", name="churn", version="1", key="a", value=1),
    post("model-versions/set-tag", name="churn", version="1", key="", value="1"),
    post("registered-models/set-tag", name="churn", key="a"),
    post("registered-models/set-tag", name="churn", key="a", value=1),
    post("registered-models/set-tag", name="churn", key=1, value="a"),
    post("registered-models/get-latest-versions", name="churn", stages="Staging"),
    post("registered-models/get-latest-versions", name="churn", stages=[1]),
    *look("churn"),
]

BODIES = [
    raw("POST", "registered-models/create", b'"{\\"name\\": \\"encoded twice\\"}"'),
    raw("POST", "registered-models/create", b'{"name": "first", "name": "last of two keys"}'),
    raw("POST", "registered-models/create", "\ufeff{}".encode()),
    raw("POST", "registered-models/create", b"\xef\xbb\xbf" + b'{"name": "with a byte order mark"}'),
    raw("POST", "registered-models/create", '{"name": "UTF-16"}'.encode("utf-16")),
    raw("POST", "registered-models/create", '{"name": "Größe in Latin-1"}'.encode("latin-1")),
    raw("POST", "registered-models/create", b'{"name": "charset"}', "application/json; charset=utf-8"),
    raw("POST", "registered-models/create", b'{"name": "text"}', "text/plain"),
    raw("POST", "registered-models/create", b"name=form", "application/x-www-form-urlencoded"),
    raw("POST", "registered-models/create", b'{"name": "no type"}', ""),
    raw("POST", "registered-models/create", b""),
    raw("POST", "registered-models/create", b"{"),
    named("a body that is an empty list", raw("POST", "registered-models/create", b"[]")),
    named("a body that is a list", raw("POST", "registered-models/create", b'["name"]')),
    raw("POST", "registered-models/create", b"null"),
    named("a body that is a number", raw("POST", "registered-models/create", b"7")),
    named("a body that is a text", raw("POST", "registered-models/create", b'"name"')),
    raw("POST", "registered-models/create", b'{"name": NaN}'),
    raw("POST", "registered-models/create", b'{"name": "half a \\ud83d pair"}'),
    raw("POST", "registered-models/create", b'{"name": "a comma too many",}'),
    Call("POST", "registered-models/create", raw=b"[" * 2000, name="nested 2000 deep"),
    get("registered-models/search"),
    version("encoded twice", "runs:/<run>/model", runId="<run>", runLink="http://elsewhere"),
    version("encoded twice", "runs:/<run>/model", runId="<run>", run_id="<run>"),
    post("registered-models/rename", name="encoded twice", newName="camel"),
    post("registered-models/rename", name="encoded twice", newName="camel 2", new_name="camel 3"),
    post("registered-models/rename", name="encoded twice", new_name="camel"),
    stage("camel", "1", "Staging", archiveExistingVersions=True),
    stage("camel", "1", "Production", archiveExistingVersions=True, archive_existing_versions=False),
    raw(
        "POST",
        "model-versions/transition-stage",
        b'{"name": "camel", "version": "1", "stage": "Staging", "stage": "Production"}',
    ),
    get("model-versions/get", name="camel", version="1"),
    Call("GET", "model-versions/get", body={"name": "camel", "version": "1"}),
    Call("GET", "model-versions/get", query={"name": "camel"}, body={"version": "1"}),
    Call("POST", "registered-models/create", query={"name": "in the query"}),
    Call("POST", "registered-models/create", query={"name": "in the query"}, body={"name": "in the body"}),
    Call("GET", "registered-models/create", query={"name": "wrong method"}),
    Call("PUT", "model-versions/transition-stage", body={"name": "camel", "version": "1", "stage": "Archived"}),
    Call("HEAD", "registered-models/get", query={"name": "camel"}),
    get("registered-models/nothing", name="camel"),
    get("registered-models/get/", name="camel"),
    get("transition-requests/nothing", name="camel"),
    Call("POST", "//api/2.0/mlflow/registered-models/create", body={"name": "two slashes"}),
    Call("POST", "///ajax-api/2.0/mlflow/registered-models/create", body={"name": "three slashes"}),
    Call("POST", "/%61pi/2.0/mlflow/registered-models/%63reate", body={"name": "percent"}),
    Call("POST", "/api/2.0/mlflow//registered-models/create", body={"name": "slashes inside"}),
    Call("POST", "/api/2.0/preview/mlflow/registered-models/create", body={"name": "preview"}),
    Call("POST", "/API/2.0/mlflow/registered-models/create", body={"name": "upper case"}),
    get("registered-models/search"),
]

VERSIONS = [
    model("churn"),
    version("nobody"),
    version(""),
    version("a/b"),
    version("churn", "s3://models/1"),
    version("churn", "s3://models/2", description="second", run_link="http://elsewhere", tags=tags(a="1", b="")),
    version("churn", "s3://models/3", description="", run_id="", run_link="", tags=[]),
    version("churn", "s3://models/4", description="Größe ✓\n\ttabs", tags=tags(größe="✓ 模型")),
    version("churn", "s3://models/5", tags=[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]),
    version("churn", tags=[{"key": "no value"}]),
    version("churn", tags=[{"value": "no key"}]),
    version("churn", tags=[{"key": "a*b", "value": "1"}]),
    version("churn", tags=[{"key": "k" * 251, "value": "1"}]),
    version("churn", tags=[{"key": "k", "value": "v" * 100_001}]),
    version("nobody", tags=[{"key": "a*b", "value": "1"}]),
    version("churn", run_id="no-such-run"),
    *[get("model-versions/get", name="churn", version=str(number)) for number in range(8)],
    get("model-versions/get", name="nobody", version="1"),
    get("model-versions/get", name="a/b", version="1"),
    get("model-versions/get", name="a/b", version="one"),
    get("model-versions/get", name="nobody", version="one"),
    *[
        patch("model-versions/update", name="churn", version="2", description=text)
        for text in ("2nd", "", "Größe", None)
    ],
    patch("model-versions/update", name="churn", version="2", description="again"),
    patch("model-versions/update", name="churn", version="2"),
    patch("model-versions/update", name="churn", version="9", description="x"),
    patch("model-versions/update", name="nobody", version="1", description="x"),
    patch("model-versions/update", name="a:b", version="1", description="x"),
    get("model-versions/get-download-uri", name="churn", version="1"),
    get("model-versions/get-download-uri", name="churn", version="9"),
    get("model-versions/get-download-uri", name="nobody", version="1"),
    delete("model-versions/delete", name="churn", version="5"),
    delete("model-versions/delete", name="churn", version="5"),
    delete("model-versions/delete", name="churn", version="9"),
    delete("model-versions/delete", name="nobody", version="1"),
    delete("model-versions/delete", name="a/b", version="one"),
    *look("churn"),
]

SPELLINGS = ["01", " 1", "1\n", "+1", "1_0", "-1", "0"]
OTHER_DIGITS = ["１", "١"]
NO_NUMBERS = ["1.0", "one", " "]

VERSION_SPELLINGS = [
    model("churn"),
    *[version("churn", f"s3://models/{number}") for number in range(1, 11)],
    alias("churn", "champion", "1"),
    stage("churn", "1", "Production"),
    *[
        call
        for spelling in (*SPELLINGS, *OTHER_DIGITS, *NO_NUMBERS, "0x1", "")
        for call in (
            get("model-versions/get", name="churn", version=spelling),
            patch("model-versions/update", name="churn", version=spelling, description=spelling),
            post("model-versions/set-tag", name="churn", version=spelling, key=f"as {spelling}", value="1"),
            alias("churn", "challenger", spelling),
            stage("churn", spelling, "Staging"),
        )
    ],
    *look("churn"),
    *[stage("churn", text, "Production", archive_existing_versions=True) for text in (*SPELLINGS, "0x1", "")],
    *look("churn"),
    *[delete("model-versions/delete", name="churn", version=text) for text in ("one", "", "0", "-1", "1.0", "０１")],
    *look("churn"),
]

# Stock on PostgreSQL has the database compare the spelling with numbers, and it reads fewer spellings than Python.
ARCHIVING_SPELLINGS = [
    model("churn"),
    version("churn"),
    *[
        named(f"archive others, {what}: {text!r}", stage("churn", text, "Staging", archive_existing_versions=True))
        for what, texts in (("not a number", NO_NUMBERS), ("other digits", OTHER_DIGITS))
        for text in texts
    ],
]

BIG_VERSIONS = [
    model("churn"),
    version("churn"),
    *[
        named(f"{what} of a version {size}", call)
        for size, number in (
            ("of 31 bits", "2147483647"),
            ("beyond 31 bits", "2147483648"),
            ("beyond 63 bits", "9223372036854775808"),
            ("of 5000 digits", "9" * 5000),
        )
        for what, call in (
            ("get", get("model-versions/get", name="churn", version=number)),
            ("download-uri", get("model-versions/get-download-uri", name="churn", version=number)),
            ("update", patch("model-versions/update", name="churn", version=number, description="x")),
            ("set-tag", post("model-versions/set-tag", name="churn", version=number, key="a", value="1")),
            ("delete-tag", delete("model-versions/delete-tag", name="churn", version=number, key="a")),
            ("stage", stage("churn", number, "Staging")),
            ("archiving", stage("churn", number, "Staging", archive_existing_versions=True)),
            ("alias", alias("churn", "champion", number)),
            ("delete", delete("model-versions/delete", name="churn", version=number)),
        )
    ],
    *look("churn"),
]

STAGES = [
    model("churn"),
    *[version("churn", f"s3://models/{number}") for number in range(1, 5)],
    *[stage("churn", "1", to) for to in ("Staging", "staging", "PRODUCTION", "pRoduction", "archived", "none", "None")],
    *[stage("churn", "1", to) for to in ("Canary", "", " Production", "Production ", "Deleted_Internal", "Prodüction")],
    *[stage(name, number, "Canary") for name, number in (("nobody", "1"), ("churn", "9"), ("a/b", "one"))],
    *[stage(name, number, "Staging") for name, number in (("nobody", "1"), ("churn", "9"), ("a/b", "1"), ("", "1"))],
    *[stage("churn", "1", to, archive_existing_versions=True) for to in ("None", "Archived", "archived", "Canary")],
    stage("nobody", "1", "Archived", archive_existing_versions=True),
    stage("churn", "1", "Production"),
    stage("churn", "2", "Production"),
    *look("churn"),
    stage("churn", "3", "production", archive_existing_versions=True),
    stage("churn", "3", "Production", archive_existing_versions=True),
    stage("churn", "3", "Production"),
    stage("churn", "9", "Production", archive_existing_versions=True),
    *look("churn"),
    stage("churn", "2", "Staging"),
    stage("churn", "4", "Staging", archive_existing_versions=True),
    stage("churn", "1", "Production"),
    stage("churn", "3", "Archived"),
    stage("churn", "3", "None"),
    *[
        Call(method, "registered-models/get-latest-versions", **{where: {"name": "churn", "stages": stages}})
        for method, where in (("GET", "query"), ("POST", "body"))
        for stages in ([], ["production", "STAGING"], ["None", "Archived", "None"], ["Production", "Canary"], [""])
    ],
    get("registered-models/get-latest-versions", name="nobody"),
    get("registered-models/get-latest-versions", name="nobody", stages=["Canary"]),
    get("registered-models/get-latest-versions", name="a/b"),
    post("registered-models/get-latest-versions", name=""),
    *look("churn"),
]

ALIASES = [
    model("churn"),
    model("other"),
    *[version("churn", f"s3://models/{number}") for number in range(1, 4)],
    alias("churn", "champion", "1"),
    alias("churn", "champion", "1"),
    alias("churn", "champion", "2"),
    alias("churn", "Champion", "1"),
    alias("churn", "challenger", "2"),
    *look("churn"),
    *[
        alias("churn", called, "3")
        for called in ("champion\n", "\nchampion", "a b", "a.b", "a/b", "a:b", "a@b", "ä-ö_ü", "模型", "１", "-", "_", "", " ")
    ],
    *[alias("churn", called, "3") for called in ("latest", "LATEST", "latest\n", "v1", "V1", "v01", "v1\n", "v", "v1a")],
    *[alias("churn", called, "3") for called in ("x" * 255, "x" * 256, "champion\t", "champion\u200b", "v１")],
    *[
        alias(name, called, number)
        for name in ("churn", "nobody", "a/b")
        for called in ("champion", "latest")
        for number in ("9", "one")
    ],
    *[
        get("registered-models/alias", name="churn", alias=called)
        for called in (
            "champion", "Champion", "CHAMPION", "champion\n", "challenger", "ä-ö_ü", "nothing", "latest", "Latest",
            "v1", "a b", "", "x" * 255, "x" * 256,
        )
    ],
    *[
        get("registered-models/alias", name=name, alias=called)
        for name in ("other", "nobody", "a/b")
        for called in ("champion", "latest", "a b")
    ],
    *look("churn"),
    *[
        delete("registered-models/alias", name=name, alias=called)
        for name, called in (
            *(("churn", called) for called in ("champion", "champion", "nothing", "latest", "v1", "a b", "", "champion\n")),
            *((name, called) for name in ("other", "nobody", "a/b") for called in ("champion", "a b")),
        )
    ],
    *look("churn"),
    Call("DELETE", "registered-models/alias", query={"name": "churn", "alias": "Champion"}),
    delete("model-versions/delete", name="churn", version="2"),
    get("registered-models/alias", name="churn", alias="challenger"),
    alias("churn", "challenger", "2"),
    get("registered-models/alias", name="churn", alias="latest"),
    delete("model-versions/delete", name="churn", version="3"),
    get("registered-models/alias", name="churn", alias="latest"),
    *look("churn"),
]  # fmt: skip

TAGS = [
    model("churn"),
    version("churn"),
    version("churn"),
    *[
        call
        for key, value in (
            ("team", "growth"),
            ("team", "risk"),
            ("team", ""),
            ("größe", "✓ 模型"),
            ("a.b-c_d e/f", "1"),
            ("a:b", "1"),
            ("a*b", "1"),
            ("a\tb", "1"),
            ("a\n", "1"),
            ("/abs", "1"),
            ("../up", "1"),
            (".", "1"),
            ("a//b", "1"),
            ("", "1"),
            (" ", "1"),
            ("k" * 250, "v"),
            ("k" * 251, "v"),
            ("long", "v" * 5000),
            ("too long", "v" * 100_001),
            ("lines", "one\ntwo\r\n\tthree"),
            ("mlflow.prompt.text", "v" * 100_001),
        )
        for call in (
            post("registered-models/set-tag", name="churn", key=key, value=value),
            post("model-versions/set-tag", name="churn", version="1", key=key, value=value),
        )
    ],
    get("registered-models/get", name="churn"),
    get("model-versions/get", name="churn", version="1"),
    *[
        call
        for key in ("team", "team", "größe", "a*b", "")
        for call in (
            delete("registered-models/delete-tag", name="churn", key=key),
            delete("model-versions/delete-tag", name="churn", version="1", key=key),
        )
    ],
    *[
        call
        for name, number in (("nobody", "1"), ("a/b", "one"), ("churn", "9"), ("churn", "one"))
        for key in ("team", "a*b")
        for call in (
            post("registered-models/set-tag", name=name, key=key, value="1"),
            delete("registered-models/delete-tag", name=name, key=key),
            post("model-versions/set-tag", name=name, version=number, key=key, value="1"),
            delete("model-versions/delete-tag", name=name, version=number, key=key),
        )
    ],
    *look("churn"),
]

RENAMES = [
    model("churn", description="who leaves", tags=tags(team="growth")),
    version("churn"),
    version("churn"),
    version("churn"),
    alias("churn", "champion", "2"),
    stage("churn", "2", "Production"),
    delete("model-versions/delete", name="churn", version="3"),
    model("taken"),
    named("rename to a taken name", post("registered-models/rename", name="churn", new_name="taken")),
    *look("churn"),
    post("registered-models/rename", name="nobody", new_name="taken"),
    post("registered-models/rename", name="nobody", new_name="free"),
    *[post("registered-models/rename", name="churn", new_name=name) for name in ("", " ", "a/b", "a:b", "..", None, 7)],
    post("registered-models/rename", name="nobody", new_name="a/b"),
    post("registered-models/rename", name="a/b", new_name="a:b"),
    post("registered-models/rename", name="", new_name=""),
    post("registered-models/rename", name="churn", new_name="churn"),
    *look("churn"),
    post("registered-models/rename", name="churn", new_name="Churn"),
    get("registered-models/get", name="churn"),
    get("registered-models/alias", name="Churn", alias="champion"),
    *look("Churn"),
    model("churn", description="another one"),
    version("churn"),
    *look("churn"),
    named("rename back to a taken name", post("registered-models/rename", name="Churn", new_name="churn")),
    delete("registered-models/delete", name="churn"),
    post("registered-models/rename", name="Churn", new_name="churn"),
    version("churn"),
    *look("churn"),
]

RECREATION = [
    model("churn", tags=tags(team="growth")),
    *[version("churn", f"s3://models/{number}") for number in range(1, 4)],
    stage("churn", "3", "Production"),
    alias("churn", "champion", "3"),
    alias("churn", "challenger", "3"),
    post("model-versions/set-tag", name="churn", version="3", key="checked", value="yes"),
    delete("model-versions/delete", name="churn", version="3"),
    *look("churn"),
    *[call for number in ("3",) for call in (
        get("model-versions/get", name="churn", version=number),
        get("model-versions/get-download-uri", name="churn", version=number),
        patch("model-versions/update", name="churn", version=number, description="x"),
        stage("churn", number, "Staging"),
        alias("churn", "champion", number),
        post("model-versions/set-tag", name="churn", version=number, key="a", value="1"),
        delete("model-versions/delete-tag", name="churn", version=number, key="checked"),
        delete("model-versions/delete", name="churn", version=number),
    )],
    version("churn", "s3://models/4"),
    get("model-versions/search", filter="tags.checked = 'yes'"),
    delete("registered-models/delete", name="churn"),
    *look("churn"),
    version("churn"),
    get("model-versions/get", name="churn", version="1"),
    get("registered-models/alias", name="churn", alias="champion"),
    model("churn"),
    *look("churn"),
    version("churn", "s3://models/new"),
    stage("churn", "1", "Production"),
    alias("churn", "champion", "1"),
    *look("churn"),
    delete("model-versions/delete", name="churn", version="1"),
    delete("registered-models/delete", name="churn"),
    model("churn"),
    get("registered-models/get-latest-versions", name="churn"),
    get("registered-models/alias", name="churn", alias="latest"),
]  # fmt: skip

SOURCES = [
    model("churn"),
    model("from"),
    version("from", "runs:/<run>/model", run_id="<run>"),
    version("from", "runs:/<other run>/model", run_id="<other run>"),
    version("from", "s3://models/3"),
    alias("from", "champion", "1"),
    stage("from", "2", "Production"),
    prompt("a prompt"),
    *[
        version("churn", source)
        for source in (
            "runs:/<run>/model", "runs:/", "runs:/<run>", "runs://<run>/model", "runs:/no-such-run/model",
            "models:/from/1", "models:/from@champion", "models:/from/Production", "models:/from/production",
            "models:/from/latest", "models:/from/3", "models:/from/9", "models:/from/one", "models:/from/01",
            "models:/from@nothing", "models:/from", "models:/nobody/1", "models:/from/Staging", "models:/", "models:",
            "models:/a prompt/1", "models://server/from/1", "models:/<logged model>", "models:/m-0123",
            "mlflow-artifacts:/0/<run>/artifacts/model", "mlflow-artifacts:/elsewhere", "mlflow-artifacts://server/x",
            "/etc/passwd", "file:///etc/passwd", "file:etc/passwd", "relative/path", "./relative", "../up", ".", "",
            "s3://models/../up", "s3://models/%2e%2e/up", "s3://models/./here", "s3://models//twice", "s3://models/a?x=../y",
            "s3://models/a#../y", "http://elsewhere/model", "https://elsewhere/model", "ftp://elsewhere/model",
            "sftp://user:secret@elsewhere/model", "dbfs:/model", "gs://models/1", "wasbs://c@a/1", "hdfs://h/1",
            "unknown:/model", "no scheme at all", "c:\\windows", "dummy-source", "prompt-template", "s3://模型/ü",
        )
    ],
    *[
        version("churn", source, run_id="<run>")
        for source in (
            "runs:/<run>/model", "runs:/<run>/../up", "runs:/<run>/%2e%2e/up", "runs:/<other run>/model", "runs:/<run>/",
            "mlflow-artifacts:/0/<run>/artifacts/model", "mlflow-artifacts:/0/<run>/artifacts",
            "mlflow-artifacts:/0/<run>/artifacts/../../x", "mlflow-artifacts:/0/<other run>/artifacts/model",
            "mlflow-artifacts:/0/<run>/artifacts-not", "/etc/passwd", "relative/path", "models:/from/1", "models:/from/2",
            "models:/from/3", "models:/<logged model>", "s3://models/anything",
        )
    ],
    version("churn", "runs:/no-such-run/model", run_id="no-such-run"),
    version("churn", "mlflow-artifacts:/x", run_id="no-such-run"),
    version("churn", "models:/<logged model>", model_id="<logged model>"),
    version("churn", "models:/<logged model>", model_id="<logged model>", run_id="<run>"),
    version("churn", "models:/<logged model>", model_id="m-other"),
    version("churn", "models:/m-other", model_id="m-other"),
    version("churn", "s3://models/any", model_id="<logged model>"),
    version("churn", "s3://models/any", model_id="m-other"),
    version("churn", "runs:/<run>/model", model_id="<logged model>"),
    version("churn", "models:/from/1", model_id="<logged model>"),
    version("churn", "/etc/passwd", model_id="<logged model>"),
    version("nobody", "/etc/passwd"),
    version("nobody", "models:/from/1"),
    version("a/b", "runs:/<run>/model", run_id="<run>"),
    *look("churn"),
    Call("GET", "logged-models/<logged model>"),
]  # fmt: skip

PROMPT_CALLS = [
    prompt("greeting"),
    prompt("greeting"),
    model("greeting"),
    model("churn"),
    prompt("churn"),
    model("half", tags=tags(**{IS_PROMPT: "True"})),
    model("not", tags=tags(**{IS_PROMPT: "false"})),
    version("greeting", "dummy-source", tags=tags(**{IS_PROMPT: "true", "mlflow.prompt.text": "Hello {{name}}"})),
    version("greeting", "prompt-template", tags=tags(**{IS_PROMPT: "true", "mlflow.prompt.text": "Hi {{name}}"})),
    version("greeting", "s3://models/1", tags=tags(**{IS_PROMPT: "true"})),
    version("greeting", "dummy-source", tags=tags(**{IS_PROMPT: "TRUE"})),
    version("greeting", "s3://models/1"),
    version("churn", "dummy-source", tags=tags(**{IS_PROMPT: "true"})),
    version("churn"),
    version("churn", "models:/greeting/1"),
    alias("greeting", "production", "1"),
    alias("greeting", "production", "2"),
    get("registered-models/alias", name="greeting", alias="production"),
    get("registered-models/alias", name="greeting", alias="latest"),
    stage("greeting", "1", "Production"),
    post("model-versions/set-tag", name="greeting", version="1", key="tone", value="warm"),
    delete("model-versions/delete-tag", name="greeting", version="1", key="tone"),
    post("registered-models/set-tag", name="greeting", key="tone", value="warm"),
    *look("greeting"),
    *[
        get(path, filter=condition)
        for path in ("registered-models/search", "model-versions/search")
        for condition in (
            PROMPTS,
            f"tags.`{IS_PROMPT}` = 'True'",
            f"tags.`{IS_PROMPT}` != 'false'",
            f"tags.`{IS_PROMPT}` = 'false'",
            f"tags.`{IS_PROMPT}` != 'true'",
            f"tags.`{IS_PROMPT}` LIKE 'tr%'",
            f"name = 'greeting' AND {PROMPTS}",
            f"{PROMPTS} AND tags.tone = 'warm'",
            "",
        )
    ],
    post("registered-models/set-tag", name="churn", key=IS_PROMPT, value="true"),
    get("registered-models/search"),
    version("churn", "models:/half/1"),
    delete("registered-models/delete-tag", name="churn", key=IS_PROMPT),
    get("registered-models/search"),
    delete("registered-models/alias", name="greeting", alias="production"),
    delete("model-versions/delete", name="greeting", version="1"),
    delete("registered-models/delete", name="greeting"),
]

SEARCH_STAGE = [
    model("churn", tags=tags(team="growth", tier="1")),
    model("Churn", tags=tags(team="Growth")),
    model("churn_2", tags=tags(tier="2")),
    model("churnX2", description="an underscore is any character"),
    model("100%", tags=tags(share="100%")),
    model("it's", tags=tags(quote="it's")),
    model("größe", tags=tags(größe="1")),
    version("churn", "s3://models/1", tags=tags(auc="0.9", team="growth")),
    version("churn", "s3://models/2", tags=tags(auc="0.8")),
    version("churn", "runs:/<run>/model", run_id="<run>"),
    version("Churn", "s3://Models/1", tags=tags(auc="0.7")),
    version("churn_2", "s3://models/100%"),
    stage("churn", "1", "Production"),
    alias("churn", "champion", "2"),
    delete("model-versions/delete", name="churn", version="2"),
]

FILTERS = [
    "name = 'churn'", "name = \"churn\"", "`name` = 'churn'", "name = churn", "name = 'nobody'", "NAME = 'churn'",
    "'churn' = name", "name != 'churn'", "name > 'a'", "name LIKE 'churn%'", "name LIKE 'CHURN%'", "name ILIKE '%CHURN%'",
    "name ILIKE '%GRÖ%'", "name LIKE 'churn_2'", "name LIKE '100\\%'", "name NOT LIKE 'churn%'", "name LIKE ''",
    "name IN ('churn', 'Churn')", "name IN ()", "name NOT IN ('churn')", "name IN ('it''s')", "name = \"it's\"",
    "name = 'it\\'s'", "name = 'größe'", "name = 'churn' AND name != 'x'", "name = 'churn' OR name = 'Churn'",
    "(name = 'churn')", "name", "'", "name = 'churn' AND", "name = 'churn'; DROP TABLE x", "name = 'a' -- b",
    "name = 'x' UNION SELECT 1", "name = 1", "  ", "name\n=\n'churn'", "name = '" + "x" * 3000 + "'",
    "tags.team = 'growth'", "tag.`team` = 'growth'", "tags.team != 'growth'", "tags.team LIKE 'gro%'", "tags.team ILIKE 'GRO%'",
    "tags.team IN ('growth')", "tags.team = 'growth' AND tags.tier = '1'", "tags.team = 'growth' AND tags.team LIKE 'g%'",
    "tags.nothing = '1'", "tags.`größe` = '1'", "tags.auc = 0.9", "tags = '1'", "name = 'churn' AND tags.team = 'growth'",
    "attributes.name = 'churn'", "metrics.a = 1", "current_stage = 'Production'", "aliases = 'champion'",
    "version_number = '1'", "version_number >= 1 AND version_number != 3", "version_number = 1.5", "version_number LIKE '1'",
    "run_id = '<run>'", "run_id NOT IN ('<run>')", "run_id LIKE '%'", "source_path ILIKE 'S3://M%'", "source_path IN ('a')",
]  # fmt: skip

ORDERS: list[Any] = [
    ["name DESC"], ["name asc"], ["NAME desc"], ["name DESC", "name ASC"], ["name down"], ["timestamp DESC", "name"],
    ["last_updated_timestamp DESC"], ["creation_timestamp"], ["name DESC", "version_number ASC"], ["run_id"], ["tags.team"],
    ["`name` DESC"], [""], ["name DESC, version_number"], ["name; DROP TABLE x"],
]  # fmt: skip

MAX_RESULTS: list[Any] = [1, 3, 1001, 200_001, 0, -1, "5", "two", "", "2.5", "９", "9223372036854775808"]
PAGE_TOKENS = [
    "eyJvZmZzZXQiOiAyfQ==",  # {"offset": 2}
    "eyJvZmZzZXQiOiAxMDB9",  # {"offset": 100}
    "eyJvZmZzZXQiOiAiMiJ9",  # {"offset": "2"}
    "eyJvZmZzZXQiOiAyLjV9",  # {"offset": 2.5}
    "eyJvZmZzZXQiOiBudWxsfQ==",  # {"offset": null}
    "e30=",  # {}
    "not base64",
    "bm90IGpzb24=",
    "",
]
BAD_TOKENS = {
    "a list": "W10=",
    "not ASCII": "ü",
}
BAD_OFFSETS = {
    "below 0": "eyJvZmZzZXQiOiAtMX0=",
    "beyond 63 bits": "eyJvZmZzZXQiOiAxMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwfQ==",
}


def searches(path: str) -> list[Call]:
    """The same searches on models and on versions; each refuses some that the other takes."""
    return [
        *SEARCH_STAGE,
        get(path),
        *[get(path, filter=text) for text in FILTERS],
        *[
            named(f"{path} by a version {size}", get(path, filter=f"version_number = {number}"))
            for size, number in (("beyond 31 bits", 2**31), ("beyond 63 bits", 2**63))
        ],
        *[get(path, order_by=order) for order in ORDERS],
        *[get(path, max_results=size) for size in MAX_RESULTS],
        *[get(path, max_results=2, page_token=token) for token in PAGE_TOKENS],
        *[named(f"an offset {at}", get(path, max_results=2, page_token=token)) for at, token in BAD_OFFSETS.items()],
        *[
            named(f"a page token that is {at}", get(path, max_results=2, page_token=token))
            for at, token in BAD_TOKENS.items()
        ],
        named("a search for what is NULL", get(path, filter="name IS NULL")),
        *[Call("GET", path, body={"max_results": size}) for size in (2, 2.0, 2.5, True)],
        named("a list where a number should be", Call("GET", path, body={"max_results": [2]})),
        Call("GET", path, body={"filter": 7}),
        Call("GET", path, body={"order_by": "name"}),
        Call("GET", path, body={"order_by": ["name DESC"], "maxResults": 2}),
        Call("GET", path, body={"page_token": 7}),
        get(path, filter="name LIKE 'churn%'", order_by=["name DESC"], max_results=1),
        get(path, nonsense="1"),
        post(path, max_results=1),
    ]


# SQLite keeps texts of any length; MLflow's tables on PostgreSQL don't.
LONG = [
    model("churn"),
    version("churn"),
    *[
        named(f"too long for a column: {what}", call)
        for what, call in (
            ("a name", model("n" * 257)),
            ("a new description", model("long", description="d" * 5001)),
            ("a description", patch("registered-models/update", name="churn", description="d" * 5001)),
            ("a tag", post("registered-models/set-tag", name="churn", key="b", value="v" * 5001)),
            ("a new tag", model("long tag", tags=tags(a="v" * 5001))),
            ("a link", version("churn", run_link="l" * 501)),
            ("a run id", version("churn", run_id="r" * 33)),
            ("a version's new description", version("churn", description="d" * 5001)),
            (
                "a version's description",
                patch("model-versions/update", name="churn", version="1", description="d" * 5001),
            ),
            ("a name to rename to", post("registered-models/rename", name="churn", new_name="m" * 257)),
        )
    ],
    model("n" * 256),
    model("described", description="d" * 5000),
    post("registered-models/set-tag", name="n" * 256, key="a", value="v" * 5000),
    version("n" * 256, "s3://" + "s" * 495, run_link="l" * 500, description="d" * 5000),
    version("n" * 256, "s3://" + "s" * 496),
    post("model-versions/set-tag", name="n" * 256, version="1", key="k" * 250, value="v" * 100_000),
    alias("n" * 256, "a" * 255, "1"),
    *look("n" * 256),
    get("registered-models/get", name="n" * 257),
]

NULS_IN_NAMES = [
    *[
        named(f"NUL in a name: {what}", call)
        for what, call in (
            ("create", model("nu\0l")),
            ("create again", model("nu\0l")),
            ("get", get("registered-models/get", name="nu\0l")),
            ("update", patch("registered-models/update", name="nu\0l", description="x")),
            ("tag", post("registered-models/set-tag", name="nu\0l", key="a", value="1")),
            ("untag", delete("registered-models/delete-tag", name="nu\0l", key="a")),
            ("register at", version("nu\0l")),
            ("move", stage("nu\0l", "1", "Staging")),
            ("alias", alias("nu\0l", "champion", "1")),
            ("read an alias of", get("registered-models/alias", name="nu\0l", alias="champion")),
            ("unalias", delete("registered-models/alias", name="nu\0l", alias="champion")),
            ("get latest of", get("registered-models/get-latest-versions", name="nu\0l")),
            ("get a version of", get("model-versions/get", name="nu\0l", version="1")),
            ("download", get("model-versions/get-download-uri", name="nu\0l", version="1")),
            ("describe a version of", patch("model-versions/update", name="nu\0l", version="1", description="x")),
            ("tag a version of", post("model-versions/set-tag", name="nu\0l", version="1", key="a", value="1")),
            ("untag a version of", delete("model-versions/delete-tag", name="nu\0l", version="1", key="a")),
            ("delete a version of", delete("model-versions/delete", name="nu\0l", version="1")),
            ("rename", post("registered-models/rename", name="nu\0l", new_name="nul")),
            ("delete", delete("registered-models/delete", name="nu\0l")),
        )
    ],
    post("registered-models/rename", name="nul", new_name="nu\0l"),
]

NULS = [
    model("churn"),
    version("churn"),
    *[
        named(f"NUL in a value: {what}", call)
        for what, call in (
            ("a new description", model("described", description="nu\0l")),
            ("a description", patch("registered-models/update", name="churn", description="nu\0l")),
            ("a new tag", model("tagged", tags=tags(a="nu\0l"))),
            ("a tag", post("registered-models/set-tag", name="churn", key="a", value="nu\0l")),
            ("a link", version("churn", run_link="nu\0l")),
            ("a run id", version("churn", run_id="nu\0l")),
            ("a version's new description", version("churn", description="nu\0l")),
            ("a version's description", patch("model-versions/update", name="churn", version="1", description="nu\0l")),
            ("a version's tag", post("model-versions/set-tag", name="churn", version="1", key="a", value="nu\0l")),
            ("a filter of models", get("registered-models/search", filter="name = 'nu\0l'")),
            ("a filter of versions", get("model-versions/search", filter="name = 'nu\0l'")),
            ("a filter by tag", get("registered-models/search", filter="tags.a = 'nu\0l'")),
        )
    ],
    post("registered-models/set-tag", name="churn", key="nu\0l", value="1"),
    delete("registered-models/delete-tag", name="churn", key="nu\0l"),
    version("churn", "s3://models/nu\0l"),
    get("model-versions/get", name="churn", version="1\0"),
    stage("churn", "1\0", "Staging"),
    stage("churn", "1", "Staging\0"),
    alias("churn", "nu\0l", "1"),
    get("registered-models/alias", name="churn", alias="nu\0l"),
    *look("churn"),
]

CONTROL_CHARACTERS = [
    call
    for text in ("tab\there, line\r\nbreak", "escape\x1b[31m", "rtl\u202e zero\u200b \uffff 🧪 <b>")
    for call in (
        model(text, description=text, tags=tags(a=text)),
        model(text),
        version(text, f"s3://models/{text}", description=text, run_link=text, tags=tags(a=text)),
        post("registered-models/set-tag", name=text, key=f"k{text}", value=text),
        post("model-versions/set-tag", name=text, version="1", key="b", value=text),
        alias(text, text, "1"),
        stage(text, "1", text),
        stage(text, "1", "Production"),
        get("model-versions/get", name=text, version="1"),
        get("registered-models/search", filter=f"name = '{text}'"),
        post("registered-models/rename", name=text, new_name=f"{text} 2"),
        delete("registered-models/delete", name=f"{text} 2"),
    )
]

ARTIFACTS = [
    model("churn"),
    version("churn", "runs:/<run>/model", run_id="<run>"),
    version("churn", "mlflow-artifacts:/0/<run>/artifacts/model", run_id="<run>"),
    version("churn", "models:/churn/2"),
    version("churn", "models:/<logged model>", model_id="<logged model>"),
    *[get("model-versions/get-download-uri", name="churn", version=str(number)) for number in range(1, 6)],
    *[
        get("/model-versions/get-artifact", name="churn", version=number, path=path)
        for number in ("2", "3", "4", "9", "one")
        for path in ("MLmodel", "nothing")
    ],
    *[
        named(
            f"{path} of version {number}, a run's",
            get("/model-versions/get-artifact", name="churn", version=number, path=path),
        )
        for number in ("1", "01")
        for path in ("MLmodel", "nothing")
    ],
    *[
        get("/model-versions/get-artifact", name="churn", version="2", path=path)
        for path in (
            "",
            ".",
            "../MLmodel",
            "/etc/passwd",
            "%2e%2e/MLmodel",
            "a/../../b",
            "http://elsewhere",
            "ü",
            "conf/a.txt",
        )
    ],
    get("/model-versions/get-artifact"),
    get("/model-versions/get-artifact", name="churn", version="1"),
    get("/model-versions/get-artifact", name="churn", path="MLmodel"),
    get("/model-versions/get-artifact", version="1", path="MLmodel"),
    get("/model-versions/get-artifact", name="nobody", version="1", path="MLmodel"),
    get("/model-versions/get-artifact", name="a/b", version="1", path="MLmodel"),
    post("/model-versions/get-artifact", name="churn", version="1", path="MLmodel"),
    get("model-versions/get-artifact", name="churn", version="1", path="MLmodel"),
    delete("model-versions/delete", name="churn", version="2"),
    get("/model-versions/get-artifact", name="churn", version="2", path="MLmodel"),
]

SEQUENCES: dict[str, list[Call]] = {
    "models": MODELS,
    "missing and mistyped fields": MISSING_AND_MISTYPED,
    "bodies": BODIES,
    "versions": VERSIONS,
    "version spellings": VERSION_SPELLINGS,
    "archiving spellings": ARCHIVING_SPELLINGS,
    "big versions": BIG_VERSIONS,
    "stages": STAGES,
    "aliases": ALIASES,
    "tags": TAGS,
    "renames": RENAMES,
    "recreation": RECREATION,
    "sources": SOURCES,
    "prompts": PROMPT_CALLS,
    "search of models": searches("registered-models/search"),
    "search of versions": searches("model-versions/search"),
    "long": LONG,
    "NULs": NULS,
    "control characters": CONTROL_CHARACTERS,
    "artifacts": ARTIFACTS,
    "NULs in names": NULS_IN_NAMES,
}
