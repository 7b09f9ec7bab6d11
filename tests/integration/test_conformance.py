"""Where no rule says otherwise, Lockgate answers as a stock `mlflow server` does: status, error code, words, values."""

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import cycle
from typing import Any

import httpx
import psycopg
import pytest
from mlflow import MlflowClient
from mlflow.store.entities import PagedList

from lockgate.database.engine import real_uri
from tests.conftest import BACKENDS
from tests.house import NO_RULES, House, Server, stock_server
from tests.integration.calls import EVERY_ROUTE, PROMPTS, SEQUENCES, Call

PREFIXES = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")

# Where Lockgate means to answer otherwise. In each of these calls stock lets the database's own words out, with the
# statement and its values, or fails with a 5xx on input that only the database finds bad. Lockgate answers 4xx, in
# words of its own. A call that is listed and does not differ so any more fails too.
SHOWS_SQL = "stock quotes the database's error, statement and values"
FAILS = "stock fails on what is wrong with the call"
KNOWN: dict[str, dict[str, str]] = {
    "sqlite": {
        "rename *to a taken name": SHOWS_SQL,
        "* of version 9223372036854775808": FAILS,
        f"* of version {'9' * 30}": FAILS,
    },
    "postgresql": {},
}

#: The password in the URI of Lockgate's database.
SECRET = "do-not-tell"
DATABASE_WORDS = ("SELECT", "INSERT", "UPDATE ", "sqlalche.me", "psycopg", "sqlite3")


#: Both servers name their own database in this message; whether ours tells the password is looked at before.
TRACKING_URI = re.compile(r"(it was currently set to )\S+(\. Perhaps)")


@dataclass(frozen=True)
class Answer:
    """What came back, without what differs from server to server and from run to run."""

    status: int
    kind: str
    body: Any

    def __str__(self) -> str:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)
        return f"{self.status} {self.kind} {text if len(text) < 1500 else text[:1500] + '...'}"


class Reader:
    """Reads one server's answers to one sequence of calls.

    Times become numbers in the order in which they first appear: so it shows which call moves which time.
    """

    TIMES = ("creation_timestamp", "last_updated_timestamp", "creation_timestamp_ms", "last_updated_timestamp_ms")
    UNORDERED = ("tags", "aliases", "latest_versions")

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._times: dict[int, str] = {}

    def answer(self, response: httpx.Response, path: str) -> Answer:
        kind = response.headers.get("content-type", "").partition(";")[0]
        try:
            body = self.plain(response.json())
        except ValueError:
            body = self.plain(response.text)
        if path.endswith("get-latest-versions") and "model_versions" in body:
            body["model_versions"].sort(key=repr)
        return Answer(response.status_code, kind, body)

    def plain(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._field(key, inner) for key, inner in sorted(value.items())}
        if isinstance(value, list):
            return [self.plain(inner) for inner in value]
        if isinstance(value, str):
            for real, name in self._names.items():
                value = value.replace(real, name)
            return TRACKING_URI.sub(r"\1<tracking URI>\2", value)
        return value

    def _field(self, key: str, value: Any) -> Any:
        if key in self.TIMES and isinstance(value, int):
            return self._times.setdefault(value, f"<time {len(self._times)}>")
        if key in self.UNORDERED and isinstance(value, list):
            return sorted((self.plain(inner) for inner in value), key=repr)
        return self.plain(value)


@dataclass
class Side:
    """One of the two servers."""

    server: Server
    http: httpx.Client
    token: str | None = None
    #: What is there before any call, by what the calls and answers call it.
    known: dict[str, str] = field(default_factory=dict)

    def furnish(self) -> None:
        """Make two runs, and a logged model with files."""
        for run in ("<run>", "<other run>"):
            made = self._api("POST", "runs/create", {"experiment_id": "0"})
            self.known[run] = made["run"]["info"]["run_id"]
        run_id = self.known["<run>"]
        made = self._api("POST", "logged-models", {"experiment_id": "0", "name": "model", "source_run_id": run_id})
        model_id = self.known["<logged model>"] = made["model"]["info"]["model_id"]
        ready = {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
        self._api("PATCH", f"logged-models/{model_id}", ready)
        for folder in (f"{run_id}/artifacts/model", f"models/{model_id}/artifacts"):
            for file in ("MLmodel", "conf/a.txt"):
                path = f"/api/2.0/mlflow-artifacts/artifacts/0/{folder}/{file}"
                self.http.put(path, content=b"run_id: none\n").raise_for_status()

    def clear(self) -> None:
        """Delete every registered model and prompt."""
        for condition in ("", PROMPTS):
            found = self._api("GET", "registered-models/search", {"filter": condition, "max_results": 1000})
            for model in found.get("registered_models", []):
                self._api("DELETE", "registered-models/delete", {"name": model["name"]})

    def _api(self, method: str, path: str, body: Any) -> Any:
        return self.http.request(method, f"{PREFIXES[0]}/{path}", json=body).raise_for_status().json()

    def answers(self, calls: Iterable[tuple[Call, str]]) -> list[Answer]:
        """Send calls, each under a prefix."""
        reader = Reader(self.names())
        return [reader.answer(self._send(call, prefix), call.path) for call, prefix in calls]

    def _send(self, call: Call, prefix: str) -> httpx.Response:
        path = call.path if call.path.startswith("/") else f"{prefix}/{call.path}"
        content = call.raw if call.raw is not None else None if call.body is None else json.dumps(call.body).encode()
        return self.http.request(
            call.method,
            self.server.uri + self._insert(path),
            params=self._insert(dict(call.query)),
            content=None if content is None else self._insert(content.decode("latin-1")).encode("latin-1"),
            headers={"Content-Type": call.content_type} if content is not None and call.content_type else {},
        )

    def _insert(self, value: Any) -> Any:
        """Replace the names of known things by their ids."""
        if isinstance(value, dict):
            return {key: self._insert(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._insert(inner) for inner in value]
        if isinstance(value, str):
            for name, real in self.known.items():
                value = value.replace(name, real)
        return value

    def names(self) -> dict[str, str]:
        """What to call what is this server's own."""
        own = {str(self.server.folder): "<folder>", self.server.uri: "<server>", f":{self.server.port}": ":<port>"}
        return {real: name for name, real in self.known.items()} | own


@dataclass
class Pair:
    """A stock server and Lockgate, each on an empty database of the same kind."""

    backend: str
    stock: Side
    ours: Side

    def clear(self) -> None:
        self.stock.clear()
        self.ours.clear()

    def compare(self, calls: list[Call], prefixes: Iterable[str]) -> list[str]:
        """Send the calls to both; return what differed, as text to read."""
        sent = list(zip(calls, prefixes, strict=False))
        with ThreadPoolExecutor() as both:
            stock, ours = both.map(lambda side: side.answers(sent), (self.stock, self.ours))
        return [
            f"#{position} {call}\n  {wrong}\n  stock    {theirs}\n  lockgate {mine}"
            for position, (call, theirs, mine) in enumerate(zip(calls, stock, ours, strict=True))
            if (wrong := self._wrong(call, theirs, mine))
        ]

    def _wrong(self, call: Call, stock: Answer, ours: Answer) -> str | None:
        if SECRET in str(ours.body):
            return "shows the database's password"
        if _shows_sql(ours, call):
            return "shows the database's words"
        known = _known(self.backend, call)
        if known is None:
            return None if stock == ours else "differs"
        as_known = stock.status >= 500 if known == FAILS else 400 <= stock.status < 500 and _shows_sql(stock, call)
        if not as_known:
            return f"does not differ as it is known to: {known}"
        plain = 400 <= ours.status < 500 and "error_code" in ours.body
        return None if plain or (known == FAILS and stock == ours) else "should be a plain 4xx"


def _known(backend: str, call: Call) -> str | None:
    return next((known for pattern, known in KNOWN[backend].items() if fnmatchcase(call.name, pattern)), None)


def _shows_sql(answer: Answer, call: Call) -> bool:
    return any(word in str(answer.body) and word not in str(call) for word in DATABASE_WORDS)


@pytest.fixture(scope="module", params=BACKENDS)
def pair(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    same_order = {"PYTHONHASHSEED": "0"}  # of what messages list from sets
    database = new_database(request.param)
    if request.param == "postgresql":
        _let_numbers_be_written_as_text(database)
    stock = stock_server(tmp_path_factory.mktemp("stock"), real_uri(database))
    stock.environment |= same_order
    backend = new_database(request.param).replace("postgres:@", f"postgres:{SECRET}@")
    house = House(tmp_path_factory.mktemp("lockgate"), backend, environment=same_order)
    try:
        with ThreadPoolExecutor() as both, httpx.Client(base_url=stock.uri, timeout=60) as http:
            list(both.map(lambda start: start(), (stock.start, house.open)))
            house.apply_policy(NO_RULES)
            made = Pair(
                request.param, Side(stock, http), Side(house.server, house.http("ada"), token=house.tokens["ada"])
            )
            made.stock.furnish()
            made.ours.furnish()
            yield made
    finally:
        house.close()
        stock.stop()


def _let_numbers_be_written_as_text(database: str) -> None:
    """Mend stock on psycopg 3, which it was not made for: to archive, it compares a version's number with text.

    psycopg2 leaves it to PostgreSQL what a text is. psycopg 3 says that it is a text, which nothing compares with a
    number.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE CAST (varchar AS integer) WITH INOUT AS IMPLICIT")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_route_under_each_prefix(pair: Pair, prefix: str) -> None:
    pair.clear()
    differences = pair.compare(EVERY_ROUTE, cycle([prefix]))
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_each_call_is_answered_alike(pair: Pair, sequence: str) -> None:
    pair.clear()
    differences = pair.compare(SEQUENCES[sequence], cycle(PREFIXES))
    assert not differences, f"{len(differences)} of {len(SEQUENCES[sequence])} calls\n" + "\n".join(differences)


def test_known_differences_name_calls_that_there_are() -> None:
    names = {call.name for calls in SEQUENCES.values() for call in calls}
    patterns = {pattern for known in KNOWN.values() for pattern in known}
    assert not [pattern for pattern in patterns if not fnmatch.filter(names, pattern)]


# The real client, which puts several calls together, and raises what it is answered.

Step = Callable[[MlflowClient], Any]

CLIENT: dict[str, Step] = {
    "create": lambda c: c.create_registered_model("churn", {"team": "growth"}, "who leaves"),
}


def _plain(value: Any) -> Any:
    if isinstance(value, PagedList):
        return {"found": [_plain(inner) for inner in value], "token": value.token}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
