"""Checkpoints in places outside the database: each kind takes and gives them, and a restored database is noticed."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine, select, text

from lockgate.audit.chain import START, link
from lockgate.audit.checkpoint import read
from lockgate.audit.entry import AuditEntry
from lockgate.audit.restore import RESTORED
from lockgate.audit.verify import verify
from lockgate.cli.main import main
from lockgate.database import chain
from lockgate.database.engine import from_ms, now
from lockgate.database.record import record
from lockgate.database.tables import audit
from lockgate.errors import BadInput, Conflict
from lockgate.registry.transaction import reading, transaction
from lockgate.witnesses.bucket import Bucket
from lockgate.witnesses.file import File
from lockgate.witnesses.git import Git
from lockgate.witnesses.named import check_witness, witness
from lockgate.witnesses.webhook import Webhook
from lockgate.witnesses.witness import Unreachable
from lockgate.workflow.checkpoints import Checkpointer, Schedule, check_start
from lockgate.workflow.signing import signer
from lockgate.workflow.testimony import check_uncontradicted, troubles
from tests.conftest import BACKENDS
from tests.logs import new_log

AT = "2026-05-12T14:00:00.000Z"


def write(engine: Engine, entries: int) -> None:
    with transaction(engine) as session:
        for number in range(entries):
            record(session, AuditEntry("policy.applied", "ada", None, "", request_id=number), now(session))


def restore(engine: Engine, to: int) -> None:
    """Leave the log as a backup has it that was made when it had fewer entries."""
    with engine.execution_options(lockgate_writes=True).begin() as connection:
        for statement in (
            f"DELETE FROM lockgate_events WHERE audit_id > {to}",
            f"UPDATE lockgate_chain_head SET number = {to}, hash = (SELECT hash FROM lockgate_audit WHERE id = {to})",
            f"DELETE FROM lockgate_audit WHERE id > {to}",
        ):
            connection.execute(text(statement))


def last(engine: Engine) -> int:
    with reading(engine) as session:
        return chain.head(session).last.number


@pytest.fixture(params=BACKENDS)
def engine(
    request: pytest.FixtureRequest, new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Engine:
    monkeypatch.setenv("LOCKGATE_SECRET_KEY", "a secret key of these tests alone")
    made = new_log(new_database(request.param))
    write(made, 3)
    return made


def run(schedule: Schedule, engine: Engine) -> int:
    return Checkpointer(engine, schedule).turn()


def schedule(*uris: object, entries: int = 1, seconds: int = 3600) -> Schedule:
    return Schedule(tuple(str(uri) for uri in uris), entries, seconds)


# Restored databases


def proven(engine: Engine, kept: Path) -> list[str]:
    """Prove the log from an export and the file of checkpoints; return what is told."""
    with reading(engine) as session:
        lines = [line.encode() for line in chain.lines(session, 0, 1000)]
    keys = [signer(engine).key.public_key()]
    signed = [read(json.loads(line), keys) for line in kept.read_text().splitlines()]
    told = [restore.entry for restore in verify(lines, signed).restores]
    report = verify(lines, signed, told)
    assert report.problems == []
    assert report.proven_to == report.last.number
    return report.notes


def test_a_restored_database_is_refused_until_somebody_acknowledges_it(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    kept = schedule(path)
    check_start(engine, kept, "")
    assert run(kept, engine) == 1
    write(engine, 5)
    assert run(kept, engine) == 1
    check_start(engine, kept, "")
    reached = last(engine)
    restore(engine, 4)
    with pytest.raises(
        BadInput, match=f"the log ends with entry 4, and the checkpoint .* is of entry {reached}: it was"
    ):
        check_start(engine, kept, "")
    assert last(engine) == 4
    check_start(engine, kept, "the disk of db-1 failed")
    assert last(engine) == 5
    check_start(engine, kept, "")  # What was given up is still there.
    write(engine, 7)
    assert run(kept, engine) == 1
    [note] = proven(engine, path)
    assert "the disk of db-1 failed" in note


def test_a_restored_database_that_went_on_is_noticed(engine: Engine, tmp_path: Path) -> None:
    kept = schedule(tmp_path / "checkpoints.jsonl")
    write(engine, 5)
    run(kept, engine)
    reached = last(engine)
    restore(engine, 4)
    write(engine, 20)
    assert run(kept, engine) == 0  # Nor is it signed meanwhile.
    with pytest.raises(BadInput, match=f"entry {reached} is not what the checkpoint"):
        check_start(engine, kept, "")


def test_another_database_is_noticed(engine: Engine, new_database: Callable[[str], str], tmp_path: Path) -> None:
    kept = schedule(tmp_path / "checkpoints.jsonl")
    run(kept, engine)
    other = new_log(new_database(engine.dialect.name))
    write(other, 10)
    with pytest.raises(BadInput, match=r"of the log .* not signed with the key"):
        check_start(other, kept, "")
    check_start(other, kept, "a new beginning")
    run(kept, other)
    check_start(other, kept, "")


def alter(engine: Engine, number: int) -> None:
    """Change an entry, and chain all that follow anew."""
    last = START
    with engine.execution_options(lockgate_writes=True).begin() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
        connection.execute(text("UPDATE lockgate_audit SET previous = 'x' || id"))
        for row in rows:
            changed = replace(chain._entry(row), actor="eve" if row.id == number else row.actor)
            following = link(changed, from_ms(row.at), last)
            values = {"actor": changed.actor, "previous": last.hash, "hash": following.hash}
            connection.execute(audit.update().where(audit.c.id == row.id).values(values))
            last = following
        connection.execute(text("UPDATE lockgate_chain_head SET hash = :hash"), {"hash": last.hash})


def test_a_backup_that_was_altered_is_noticed(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    kept = schedule(path)
    for _ in range(3):
        write(engine, 2)
        run(kept, engine)
    restore(engine, 9)
    alter(engine, 5)
    with pytest.raises(BadInput, match=r"entry 6 is not what the checkpoint .*; the log ends with entry 9, and"):
        check_start(engine, kept, "")
    check_start(engine, kept, "the disk failed")
    with reading(engine) as session:
        [acknowledged] = chain.restores(session)
    assert (acknowledged.kept, acknowledged.given_up) == (0, 10)
    assert "also of entries that the database had then (1 to 9)" in str(acknowledged)


def test_a_forged_restore_excuses_nothing(engine: Engine, tmp_path: Path) -> None:
    kept = schedule(tmp_path / "checkpoints.jsonl")
    write(engine, 5)
    run(kept, engine)
    reached = last(engine)
    restore(engine, 4)
    before, after = {"log_id": log_id(engine), "number": 10**9}, {"log_id": log_id(engine), "number": 0}
    with transaction(engine) as session:
        record(session, AuditEntry(RESTORED, "lockgate", None, "", before=before, after=after), now(session))
    with pytest.raises(BadInput, match=f"is of entry {reached}: it was cut off"):
        check_start(engine, kept, "")
    assert run(kept, engine) == 0
    # Nor does anybody get a signature for it who asks.
    with pytest.raises(Conflict, match="nothing is signed"):
        check_uncontradicted(engine, kept.uris, signer(engine))


def log_id(engine: Engine) -> str:
    with reading(engine) as session:
        return chain.head(session).log_id


def test_a_witness_that_lost_what_it_was_given_contradicts(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    kept = schedule(path)
    run(kept, engine)
    first = path.read_text()
    write(engine, 2)
    run(kept, engine)
    write(engine, 1)
    for left, said in ((first, "has none that is newer than entry 4"), ("", "and has none"), (None, "and has none")):
        path.unlink() if left is None else path.write_text(left)
        with pytest.raises(BadInput, match=said):
            check_start(engine, kept, "")
        free(engine)
        assert run(kept, engine) == 0
    check_start(engine, kept, "somebody had tidied up")
    check_start(engine, kept, "")


def free(engine: Engine) -> None:
    """Let a witness be tried again at once."""
    with engine.execution_options(lockgate_writes=True).begin() as connection:
        connection.execute(text("UPDATE lockgate_witnesses SET claimed_until = 1"))


def test_an_old_checkpoint_that_is_repeated_hides_no_later_one(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    kept = schedule(path)
    run(kept, engine)
    first = path.read_text()
    write(engine, 5)
    run(kept, engine)
    restore(engine, 4)
    path.write_text(path.read_text() + first)
    with pytest.raises(BadInput, match="the log ends with entry 4"):
        check_start(engine, kept, "")


def test_a_log_that_is_cut_off_under_a_running_server_is_noticed_at_once(engine: Engine, tmp_path: Path) -> None:
    """By who leaves in the database how far the witness was."""
    kept = schedule(tmp_path / "checkpoints.jsonl", entries=1000)
    write(engine, 20)
    run(schedule(tmp_path / "checkpoints.jsonl"), engine)
    restore(engine, 4)
    write(engine, 1)
    assert run(kept, engine) == 0
    [said] = troubles(engine, kept.uris).values()
    assert "the log was cut off" in said
    free(engine)
    check_start(engine, kept, "that was a test")
    assert troubles(engine, kept.uris) == {}


def test_a_checkpoint_that_somebody_else_signed_is_noticed(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    run(schedule(path), engine)
    told = json.loads(path.read_text())
    told["signatures"][0]["sig"] = "A" * 86 + "=="
    path.write_text(json.dumps(told) + "\n")
    with pytest.raises(BadInput, match="not signed with the key"):
        check_start(engine, schedule(path), "")
    check_start(engine, schedule(path), "the secret key was lost")
    check_start(engine, schedule(path), "")


def test_what_is_no_checkpoint_is_not_taken_for_one_that_is_out_of_reach(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    run(schedule(path), engine)
    with path.open("a") as file:
        file.write("no checkpoint\n")
    with pytest.raises(BadInput, match="something last that is no checkpoint"):
        check_start(engine, schedule(path), "")


def test_what_cannot_be_asked_keeps_nobody_from_starting_and_is_told(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = schedule(tmp_path / "nowhere/file", f"git:{tmp_path}", "http://[::1]:9/x")
    check_start(engine, kept, "")
    assert "No checkpoint could be compared" in caplog.text
    assert list(troubles(engine, kept.uris)) == [f"the git repository {tmp_path}"]


def test_an_acknowledgement_that_is_left_over_is_told(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = schedule(tmp_path / "checkpoints.jsonl")
    run(kept, engine)
    check_start(engine, kept, "the disk of db-1 failed")
    assert "nothing to acknowledge. Take it away" in caplog.text


# The schedule


def test_there_is_a_checkpoint_after_so_many_entries_or_so_long(engine: Engine, tmp_path: Path) -> None:
    often = schedule(tmp_path / "a", entries=3)
    assert [run(often, engine), run(often, engine)] == [1, 0]
    write(engine, 2)
    assert run(often, engine) == 0
    write(engine, 1)
    assert run(often, engine) == 1
    later = schedule(tmp_path / "b", entries=1000, seconds=0)
    assert [run(later, engine), run(later, engine)] == [1, 0]
    write(engine, 1)
    assert run(later, engine) == 1


def test_a_witness_that_is_gone_is_left_alone_for_a_while_and_the_others_get_theirs(
    engine: Engine, tmp_path: Path
) -> None:
    gone, there = tmp_path / "nowhere/file", tmp_path / "there"
    several = schedule(gone, there)
    assert run(several, engine) == 1
    gone.parent.mkdir()
    write(engine, 1)
    assert run(several, engine) == 1
    assert not gone.exists()
    free(engine)
    assert run(several, engine) == 1
    assert gone.exists()


def test_one_of_many_processes_gives_it(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.jsonl"
    signer(engine)
    given: list[int] = []

    def turn() -> None:
        try:
            given.append(run(schedule(path), engine))
        except Conflict:
            given.append(0)

    threads = [threading.Thread(target=turn) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(given) == len(path.read_text().splitlines()) == 1


# The key


def test_the_key_is_made_once_and_that_is_on_record(engine: Engine) -> None:
    before, made = last(engine), {signer(engine).key_id for _ in range(3)}
    assert len(made) == 1
    assert last(engine) == before + 1
    with pytest.raises(BadInput, match="not the one") as refused:
        signer(engine, {"LOCKGATE_SECRET_KEY": "another secret key than before"})
    told = re.search(r'(docs/\S+\.md), "(.+)"', refused.value.message)
    assert told is not None
    assert f"# {told[2]}\n" in (Path(__file__).parents[2] / told[1]).read_text()


def test_without_a_secret_key_only_sqlite_signs(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        path = Path(f"{engine.url.database}.secret-key")
        assert signer(engine, {}).key_id == signer(engine, {}).key_id
        assert path.stat().st_mode & 0o777 == 0o600
        return
    with pytest.raises(Conflict, match="LOCKGATE_SECRET_KEY is not set"):
        signer(engine, {})


# Each kind of witness


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in (
        ("AWS_ENDPOINT_URL_S3", s3_server), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    name = f"locked-{id(monkeypatch)}"
    boto3.client("s3").create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def test_a_bucket_with_object_lock(bucket: str) -> None:
    kept = witness(f"s3://{bucket}/log?retain_days=30")
    assert kept == Bucket(bucket, "log", 30)
    assert kept.recent() == []
    for at, number in ((AT, 1), ("2026-05-12T15:00:00.000Z", 2), ("2026-11-01T00:00:00.000Z", 3)):
        kept.keep(f"line {number}", at, number)
        assert kept.recent()[-1:] == [f"line {number}"]
    client = boto3.client("s3")
    version = max(client.list_object_versions(Bucket=bucket)["Versions"], key=lambda one: str(one["Key"]))
    locked = client.head_object(Bucket=bucket, Key=version["Key"])
    assert locked["ObjectLockMode"] == "COMPLIANCE"
    assert 28 < (locked["ObjectLockRetainUntilDate"] - datetime.now(UTC)).days <= 30
    with pytest.raises(client.exceptions.ClientError):
        client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_object(Bucket=bucket, Key=version["Key"])  # leaves a mark
    client.put_object(Bucket=bucket, Key=version["Key"], Body=b"another")
    assert set(kept.recent() or ()) == {"line 3", "another"}
    with pytest.raises(Unreachable, match="NoSuchBucket"):
        witness("s3://not-there/log").recent()


def test_a_file(tmp_path: Path) -> None:
    kept = witness(f"file://{tmp_path}/a%20file")
    assert kept == File(tmp_path / "a file")
    assert kept.recent() == []
    kept.keep("one", AT, 1)
    with (tmp_path / "a file").open("a") as file:
        file.write("half a li")  # the power went
    assert kept.recent() == ["one"]
    kept.keep("two", AT, 2)
    assert kept.recent() == ["one", "half a li", "two"]
    with pytest.raises(Unreachable, match="directory"):
        File(tmp_path).keep("x", AT, 1)


@pytest.mark.parametrize("bare", [True, False])
def test_a_git_repository(bare: bool, tmp_path: Path) -> None:
    path = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", *(["--bare"] if bare else []), str(path)], check=True)
    kept = witness(f"git:{path}")
    assert (kept, kept.recent()) == (Git(path), [])
    for number in (1, 2):
        kept.keep(f"line {number}", AT, number)
        assert kept.recent() == [f"line {one}" for one in range(1, number + 1)]
    kept.keep("line 3", "2026-05-13T00:00:00.000Z", 3)
    assert kept.recent() == ["line 3"]
    names = subprocess.run(
        ["git", "-C", str(path), "ls-tree", "-r", "--name-only", "HEAD"], capture_output=True, text=True, check=True
    )
    assert names.stdout.split() == ["2026/05/12.jsonl", "2026/05/13.jsonl"]
    log = subprocess.run(["git", "-C", str(path), "log", "--format=%s"], capture_output=True, text=True, check=True)
    assert log.stdout.split("\n")[:2] == ["Checkpoint of entry 3", "Checkpoint of entry 2"]
    with pytest.raises(Unreachable, match="failed"):
        Git(tmp_path).recent()


def test_a_clone_is_pushed(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "--bare", str(origin)], check=True)
    Git(origin).keep("line 1", AT, 1)
    subprocess.run(["git", "clone", "-q", str(origin), str(clone)], check=True)
    Git(clone).keep("line 2", AT, 2)
    assert Git(origin).recent() == ["line 1", "line 2"]


def test_a_webhook() -> None:
    told: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/in?token=secret" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        uri = f"http://127.0.0.1:{server.server_port}"
        kept = witness(f"{uri}/in?token=secret")
        assert kept == Webhook(f"{uri}/in?token=secret")
        assert kept.name == f"{uri}/in"
        kept.keep("line", AT, 1)
        assert told == [b"line\n"]
        with pytest.raises(Unreachable, match="500"):
            witness(f"{uri}/other").keep("line", AT, 1)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "ftp://x/y",
        "s3://",
        "s3://b/p?retain_days=x",
        "s3://b/p?lock=1",
        "https://",
        "git:",
        "file://host/x",
        "/a b",
    ],
)
def test_what_keeps_no_checkpoints_is_said_to(uri: str) -> None:
    with pytest.raises(BadInput):
        check_witness(uri)


def test_a_server_does_not_start_to_keep_checkpoints_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    check_witness(f"{tmp_path}/checkpoints.jsonl")
    for uri, advice in (
        (f"{tmp_path}/nowhere/x.jsonl", f"mkdir -p {tmp_path}/nowhere"),
        (f"file://{tmp_path}/no%20where/x.jsonl", f"mkdir -p '{tmp_path}/no where'"),
        (str(tmp_path), "a file in it"),
        (f"{tmp_path}/{'x' * 300}/x.jsonl", "too long"),
    ):
        with pytest.raises(BadInput, match=re.escape(advice)):
            check_witness(uri)
    started = CliRunner().invoke(main, ["server", "--checkpoint-to", f"{tmp_path}/nowhere/x.jsonl"])
    assert started.exit_code == 2
    assert "Make it" in started.output
