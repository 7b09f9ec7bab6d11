"""Files of versions, in real folders and in a real S3 server: what is known of them is always what is there."""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from moto.server import ThreadedMotoServer

from lockgate.database import places
from lockgate.database.engine import now, real_uri
from lockgate.database.migrate import prepare_database
from lockgate.evidence.manifest import Artifacts, Hashing
from lockgate.registry import buckets, folders
from lockgate.registry.listing import MOST_FILES, Changed, Unverifiable, fingerprint
from lockgate.registry.places import place_at
from lockgate.registry.store import GovernedStore
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow import hashing
from lockgate.workflow.gate import PolicyGate
from lockgate.workflow.hasher import Hasher, hash_all
from lockgate.workflow.hashing import look_at
from lockgate.workflow.stores import Stores
from tests.conftest import BACKENDS

BIG = 40 * 1024 * 1024


@pytest.fixture(scope="module", params=BACKENDS)
def house(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> Stores:
    uri = real_uri(new_database(request.param))
    prepare_database(uri)
    return Stores(GovernedStore(uri, PolicyGate()), SqlAlchemyStore(uri, "mlflow-artifacts:/"))


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's artifacts destination."""
    destination = tmp_path / "mlartifacts"
    destination.mkdir()
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    monkeypatch.setenv("LOCKGATE_ARTIFACTS_DESTINATION", str(destination))
    return destination


@dataclass(frozen=True)
class S3:
    """A bucket on loopback."""

    client: Any
    name: str

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["plain", "versioned"])
def s3(request: pytest.FixtureRequest, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3:
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_server)
    name = f"bucket-{os.urandom(4).hex()}"
    client.create_bucket(Bucket=name)
    if request.param == "versioned":
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return S3(client, name)


def fill(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data/weights.bin").write_bytes(b"a" * 100)
    return folder


def known(stores: Stores, location: str) -> places.KnownPlace | None:
    with reading(stores.registry.engine) as session:
        return places.load(session, location)


def paths(found: Artifacts) -> list[str]:
    assert found.state is Hashing.HASHED, found.reason
    return [file.path for file in found.files]


def _swap_unseen(folder: Path) -> None:
    """Other content of the same size, with the times put back."""
    weights = folder / "data/weights.bin"
    before = weights.stat()
    weights.write_bytes(b"b" * 100)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace_unseen(folder: Path) -> None:
    weights = folder / "data/weights.bin"
    before = weights.stat()
    (folder / "other").write_bytes(b"b" * 100)
    os.utime(folder / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "other").replace(weights)


def _edit_through_a_map(folder: Path) -> None:
    import mmap

    with (folder / "data/weights.bin").open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[0:1] = b"b"


EDITS: list[tuple[str, Callable[[Path], Any], list[str]]] = [
    ("changed", lambda f: (f / "MLmodel").write_text("flavors: {a: 1}\n"), ["file MLmodel changed (16 bytes, was 12)"]),
    ("added", lambda f: (f / "data/x").write_text(""), ["file data/x is new"]),
    ("hidden", lambda f: (f / ".git").write_text(""), ["file .git is new"]),
    ("removed", lambda f: (f / "MLmodel").unlink(), ["file MLmodel is gone"]),
    ("renamed", lambda f: (f / "MLmodel").rename(f / "other"), ["file MLmodel was renamed to other"]),
    (
        "truncated",
        lambda f: os.truncate(f / "data/weights.bin", 10),
        ["file data/weights.bin changed (10 bytes, was 100)"],
    ),
    ("swapped", _swap_unseen, ["file data/weights.bin changed (100 bytes, was 100)"]),
    ("replaced", _replace_unseen, ["file data/weights.bin changed (100 bytes, was 100)"]),
    ("mapped", _edit_through_a_map, ["file data/weights.bin changed (100 bytes, was 100)"]),
]


@pytest.mark.parametrize(("edit", "changes"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_every_edit_in_a_folder_is_noticed(
    house: Stores, tmp_path: Path, edit: Callable[[Path], Any], changes: list[str]
) -> None:
    folder = fill(tmp_path / "model")
    before = look_at(house, str(folder))
    assert paths(before) == ["MLmodel", "data/weights.bin"]
    edit(folder)
    after = look_at(house, folder.as_uri())
    assert after.changes_since(before) == changes
    assert after.digest != before.digest


def test_an_edit_at_once_after_hashing_is_noticed(house: Stores, tmp_path: Path) -> None:
    folder = fill(tmp_path / "model")
    for n in range(5):
        (folder / "MLmodel").write_bytes(b"%02d" % n)
        before = look_at(house, str(folder))
        (folder / "MLmodel").write_bytes(b"%02d" % (n + 1))
        assert look_at(house, str(folder)).changes_since(before) == ["file MLmodel changed (2 bytes, was 2)"]


def test_what_is_known_is_not_read_again(house: Stores, tmp_path: Path) -> None:
    folder = fill(tmp_path / "model")
    first = look_at(house, str(folder))
    row = known(house, str(folder))
    assert look_at(house, str(folder)) == first
    assert known(house, str(folder)) == row
    (folder / "MLmodel").touch()
    assert look_at(house, str(folder)).digest == first.digest
    assert known(house, str(folder)) != row


def test_nothing_there_is_no_files(house: Stores, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert look_at(house, str(tmp_path / "empty")) == look_at(house, str(tmp_path / "missing"))
    assert paths(look_at(house, str(tmp_path / "empty"))) == []


def test_a_single_file(house: Stores, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_text("x")
    assert paths(look_at(house, str(tmp_path / "model.pkl"))) == ["model.pkl"]


def test_links_inside_are_followed(house: Stores, tmp_path: Path) -> None:
    folder = fill(tmp_path / "model")
    (folder / "again").symlink_to("data")
    (folder / "latest").symlink_to("data/weights.bin")
    before = look_at(house, str(folder))
    assert paths(before) == ["MLmodel", "again/weights.bin", "data/weights.bin", "latest"]
    (folder / "latest").unlink()
    (folder / "latest").symlink_to("MLmodel")
    assert look_at(house, str(folder)).changes_since(before) == ["file latest changed (12 bytes, was 100)"]


def _socket(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket")
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: (f / "x").symlink_to("/etc/passwd"), "The link x leads out of the version's files."),
        (lambda f: (f / "x").symlink_to("../other"), "The link x leads out of the version's files."),
        (lambda f: (f / "x").symlink_to("nothing"), "The link x leads nowhere."),
        (lambda f: (f / "x").symlink_to("x"), "The link x leads round in a circle."),
        (lambda f: (f / "data/x").symlink_to(".."), "The link data/x leads round in a circle."),
        (lambda f: os.mkfifo(f / "data/x"), "data/x is no file but a pipe, socket or device."),
        (_socket, "socket is no file but a pipe, socket or device."),
        (lambda f: (f / os.fsdecode(b"\xff")).touch(), 'The file name "\\udcff" is not UTF-8.'),
    ],
)
def test_what_makes_a_folder_unverifiable(
    house: Stores, tmp_path: Path, spoil: Callable[[Path], Any], reason: str
) -> None:
    folder = fill(tmp_path / "model")
    (tmp_path / "other").mkdir()
    spoil(folder)
    assert look_at(house, str(folder)) == Artifacts(Hashing.UNVERIFIABLE, reason=reason)


def test_an_unreadable_file_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder, reading_as_nobody(folder):
        (Path(folder) / "x").write_text("")
        (Path(folder) / "x").chmod(0)
        place = place_at(folder)
        (listed,) = place.files()
        with pytest.raises(Unverifiable, match=r"The file x can't be read \(Permission denied\)."):
            list(place.read(listed))
        Path(folder).chmod(0)
        with pytest.raises(Unverifiable, match=r"The folder can't be read \(Permission denied\)."):
            place.files()
        Path(folder).chmod(0o700)


@contextmanager
def reading_as_nobody(folder: str) -> Iterator[None]:
    """Not as root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_links_can_not_make_a_folder_endless(house: Stores, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / "model" / f"{n:02}").mkdir(parents=True)
        (tmp_path / "model" / f"{n:02}" / "x").touch()
        if n:
            for name in "ab":
                (tmp_path / "model" / f"{n:02}" / name).symlink_to(f"../{n - 1:02}")
    assert look_at(house, str(tmp_path / "model")).reason == (
        "There are more than 10,000 files, which is more than Lockgate hashes."
    )


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("gs://user:secret@bucket/x?token=secret", "Lockgate can't read gs:// locations."),
        ("abfss://c@a.dfs.core.windows.net/x", "Lockgate can't read abfss:// locations."),
        ("https://example.com/x?sig=secret", "Lockgate can't read https:// locations."),
        ("file://elsewhere/x", "Lockgate can't read file:// locations."),
        ("runs:/0123456789abcdef0123456789abcdef/model", "MLflow can't tell where the version's files are: its run may be gone."),
        ("", "The version does not say where its files are."),
        ("/tmp/\0", "The version does not say where its files are."),
    ],
)  # fmt: skip
def test_locations_that_can_not_be_read(house: Stores, location: str, reason: str) -> None:
    assert look_at(house, location) == Artifacts(Hashing.UNVERIFIABLE, reason=reason)


def test_files_of_a_run_behind_the_server(house: Stores, proxy: Path) -> None:
    run = house.tracking.create_run("0", "ada", 0, [], "run").info
    fill(proxy / "0" / run.run_id / "artifacts/model")
    found = look_at(house, f"runs:/{run.run_id}/model")
    assert paths(found) == ["MLmodel", "data/weights.bin"]
    assert look_at(house, f"mlflow-artifacts:/0/{run.run_id}/artifacts/model") == found
    assert look_at(house, "mlflow-artifacts:/0/../../x").state is Hashing.UNVERIFIABLE


# S3


def test_every_edit_in_a_bucket_is_noticed(house: Stores, s3: S3, proxy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_ARTIFACTS_DESTINATION", f"s3://{s3.name}/root/")
    location = f"s3://{s3.name}/root/model"
    assert paths(look_at(house, location)) == []
    s3.put("root/model/MLmodel", b"1")
    s3.put("root/model/data/x y+%", b"2")
    s3.put("root/model/data/", b"")
    s3.put("root/model2/other", b"3")
    before = look_at(house, location)
    assert paths(before) == ["MLmodel", "data/x y+%"]
    assert look_at(house, "mlflow-artifacts:/model") == before
    s3.put("root/model/MLmodel", b"4")
    s3.client.delete_object(Bucket=s3.name, Key="root/model/data/x y+%")
    s3.put("root/model/new", b"5")
    after = look_at(house, location)
    assert after.changes_since(before) == [
        "file MLmodel changed (1 bytes, was 1)",
        "file new is new",
        "file data/x y+% is gone",
    ]


def test_a_single_object(house: Stores, s3: S3) -> None:
    s3.put("models/model.pkl", b"1")
    s3.put("other/model/model", b"1")
    assert paths(look_at(house, f"s3://{s3.name}/other/model")) == ["model"]
    assert paths(look_at(house, f"s3://{s3.name}/models/model.pkl")) == ["model.pkl"]
    assert paths(look_at(house, f"s3://{s3.name}")) == ["models/model.pkl", "other/model/model"]


def test_an_object_that_is_replaced_while_it_is_read(s3: S3) -> None:
    s3.put("model/x", b"1")
    place = place_at(f"s3://{s3.name}/model")
    (listed,) = place.files()
    s3.put("model/x", b"2")
    with pytest.raises(Changed):
        list(place.read(listed))
    s3.client.delete_object(Bucket=s3.name, Key="model/x")
    with pytest.raises(Changed):
        list(place.read(listed))


def test_what_makes_a_bucket_unverifiable(house: Stores, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("model//x", b"1")
    assert look_at(house, f"s3://{s3.name}/model").reason.startswith('The file name "/x" is ambiguous')
    assert look_at(house, "s3://no-such-bucket/x").reason == (
        "The bucket can't be read: the storage answered NoSuchBucket."
    )
    assert look_at(house, "s3://B/x").state is Hashing.UNVERIFIABLE
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    gone = look_at(house, f"s3://{s3.name}/model")
    assert gone.state is Hashing.PENDING  # that says nothing about the files
    assert gone.reason == "The storage can't be reached (EndpointConnectionError)."
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "nonsense")
    assert look_at(house, f"s3://{s3.name}/model").reason == "The bucket can't be read (ValueError)."


def test_a_server_without_boto3_says_what_to_install(house: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert look_at(house, "s3://bucket/x").reason == (
        "Lockgate can't read s3:// locations without boto3. Run: pip install 'lockgate[s3]'"
    )


def test_buckets_hold_too_many_files_as_well(monkeypatch: pytest.MonkeyPatch, s3: S3) -> None:
    monkeypatch.setattr(buckets, "MOST_FILES", 2)
    for n in range(3):
        s3.put(f"model/{n}", b"")
    with pytest.raises(Unverifiable, match=f"{MOST_FILES:,}"):
        place_at(f"s3://{s3.name}/model").files()


# Large ones


def big(folder: Path, files: int = 2) -> str:
    folder.mkdir()
    for n in range(files):
        with (folder / f"{n}.bin").open("wb") as file:
            file.truncate(BIG // files)
            file.seek(0)
            file.write(b"%d" % n)
    return str(folder)


def hash_next(stores: Stores, **options: Any) -> bool:
    return Hasher(stores.registry.engine, **options).hash_next()


def claimed(stores: Stores, lasting: timedelta) -> places.KnownPlace:
    with transaction(stores.registry.engine) as session:
        at = now(session)
        lease = places.claim(session, at, at + lasting)
    assert lease is not None
    return lease


@pytest.fixture
def idle(house: Stores) -> Iterator[Stores]:
    """Stores where nothing waits to be hashed, before and after."""
    while hash_next(house):
        pass
    yield house
    while hash_next(house):
        pass


def test_large_files_are_hashed_in_the_background(idle: Stores, tmp_path: Path) -> None:
    location = big(tmp_path / "model")
    assert look_at(idle, location) == Artifacts(Hashing.PENDING, reason="0.0 of 41.9 MB hashed")
    assert hash_next(idle)
    assert not hash_next(idle)
    found = look_at(idle, location)
    assert paths(found) == ["0.bin", "1.bin"]
    assert found.size == BIG
    (tmp_path / "model/2.bin").write_bytes(b"2")
    # What did not change need not be read again.
    assert look_at(idle, location) == Artifacts(Hashing.PENDING, reason="41.9 of 41.9 MB hashed")
    assert hash_next(idle)
    assert look_at(idle, location).changes_since(found) == ["file 2.bin is new"]


def test_many_files_are_hashed_in_the_background(idle: Stores, tmp_path: Path) -> None:
    for n in range(501):
        (tmp_path / f"{n:03}").write_bytes(b"")
    assert look_at(idle, str(tmp_path)) == Artifacts(Hashing.PENDING, reason="0 of 0 bytes hashed")
    assert hash_next(idle)
    assert len(paths(look_at(idle, str(tmp_path)))) == 501


def test_a_started_hasher_is_woken(idle: Stores, tmp_path: Path) -> None:
    started = Hasher(idle.registry.engine)
    started.start()
    location = big(tmp_path / "model")
    while (found := look_at(idle, location)).state is Hashing.PENDING:
        threading.Event().wait(0.02)
    started.stop()
    assert paths(found) == ["0.bin", "1.bin"]


def test_progress_is_shown(idle: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lockgate.workflow import hasher

    monkeypatch.setattr(hasher._Job, "PROGRESS", 0)
    monkeypatch.setattr(hasher._Job, "CHECKPOINT", 0)
    location = big(tmp_path / "model")
    look_at(idle, location)
    lease = claimed(idle, timedelta(seconds=30))
    job = hasher._Job(idle.registry.engine, lease, timedelta(seconds=30), threading.Event())
    job._note(BIG // 4, [])
    assert look_at(idle, location) == Artifacts(Hashing.PENDING, reason="10.5 of 41.9 MB hashed")
    job.run()
    assert look_at(idle, location).state is Hashing.HASHED


def test_a_place_has_one_hasher_until_its_lease_runs_out(idle: Stores, tmp_path: Path) -> None:
    location = big(tmp_path / "model")
    look_at(idle, location)
    dead = claimed(idle, timedelta(seconds=30))
    assert not hash_next(idle)
    with transaction(idle.registry.engine) as session:
        # As if its time had passed; it had hashed one file.
        place = place_at(location)
        first = place.files()[:1]
        half = tuple(hash_one(place, file) for file in first)
        over = int(now(session).timestamp() * 1000) - 1
        assert places.keep(session, dead, claimed_until=over, files=half)
    assert hash_next(idle)
    found = look_at(idle, location)
    assert paths(found) == ["0.bin", "1.bin"]
    with transaction(idle.registry.engine) as session:
        assert not places.keep(session, dead, state=Hashing.UNVERIFIABLE)
    assert look_at(idle, location) == found


def test_a_hasher_that_is_told_to_stop_hands_its_place_back(idle: Stores, tmp_path: Path) -> None:
    from lockgate.workflow import hasher

    location = big(tmp_path / "model")
    look_at(idle, location)
    told = threading.Event()
    told.set()
    hasher._Job(idle.registry.engine, claimed(idle, timedelta(hours=1)), timedelta(hours=1), told).run()
    threading.Event().wait(0.005)
    assert hash_next(idle)
    assert paths(look_at(idle, location)) == ["0.bin", "1.bin"]


def hash_one(place: Any, file: Any) -> places.KnownFile:
    import hashlib

    return places.KnownFile(file.path, file.size, hashlib.sha256(b"".join(place.read(file))).hexdigest(), file.mark)


def test_whoever_lost_a_place_leaves_it_alone(idle: Stores, tmp_path: Path) -> None:
    from lockgate.workflow import hasher

    location = big(tmp_path / "model")
    look_at(idle, location)
    lease = claimed(idle, timedelta(seconds=30))
    (tmp_path / "model/0.bin").write_bytes(b"small")
    (tmp_path / "model/1.bin").write_bytes(b"small")
    found = look_at(idle, location)
    hasher._Job(idle.registry.engine, lease, timedelta(seconds=30), threading.Event()).run()
    assert look_at(idle, location) == found
    assert found.state is Hashing.HASHED


def test_files_that_change_while_they_are_hashed(tmp_path: Path) -> None:
    location = big(tmp_path / "model")
    place = place_at(location)
    listed = place.files()

    def write_behind(done: int, _hashed: Any) -> None:
        if done == BIG:
            with (tmp_path / "model/0.bin").open("r+b") as file:
                file.write(b"x")

    with pytest.raises(Changed):
        hash_all(place, listed, (), write_behind)
    with pytest.raises(Changed):
        hash_all(place, place.files(), (), lambda *_: (tmp_path / "model/new").touch())
    with pytest.raises(Changed):
        hash_all(place, listed, (), lambda *_: None)
    (tmp_path / "model/1.bin").unlink()
    os.mkfifo(tmp_path / "model/1.bin")
    with pytest.raises(Changed):
        list(place.read(listed[1]))


def test_a_pending_place_whose_files_change_waits_and_a_spoiled_one_is_given_up(idle: Stores, tmp_path: Path) -> None:
    location = big(tmp_path / "model")
    look_at(idle, location)
    (tmp_path / "model/pipe").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "model/pipe")
    assert hash_next(idle)
    row = known(idle, location)
    assert row is not None
    assert (row.state, row.reason) == (Hashing.UNVERIFIABLE, "pipe is no file but a pipe, socket or device.")
    (tmp_path / "model/pipe").unlink()
    # The same listing as before: what was said of it is believed for a while, then tried again.
    assert look_at(idle, location).state is Hashing.UNVERIFIABLE
    with transaction(idle.registry.engine) as session:
        places.save(session, places.KnownPlace(**{**vars(row), "hashed_at": 0}))
    assert look_at(idle, location).state is Hashing.PENDING
    assert hash_next(idle)
    assert look_at(idle, location).state is Hashing.HASHED


def test_listings_differ_by_what_they_hold(tmp_path: Path) -> None:
    folder = fill(tmp_path / "model")
    files = folders.Folder(str(folder)).files()
    assert fingerprint(files) == fingerprint(reversed(files))
    assert fingerprint(files) != fingerprint(files[:1])
    assert hashing._SMALL_FILES < MOST_FILES
