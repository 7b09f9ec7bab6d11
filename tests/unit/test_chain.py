"""The hash chain, its checkpoints and their proof without a server: what somebody does to an export is found."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.access.at_rest import AtRest
from lockgate.audit import checkpoint
from lockgate.audit.chain import FIELDS, NOTHING, START, Link, line, line_hash
from lockgate.audit.checkpoint import Checkpoint, as_line
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.audit.envelope import Signer, read_public_keys
from lockgate.audit.verify import Report, verify
from lockgate.errors import BadInput

AT = datetime(2026, 5, 12, 14, 0, 0, 123456, tzinfo=UTC)
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
LENGTH = 9


def chained(entries: list[AuditEntry], at: datetime = AT) -> tuple[list[str], list[Link]]:
    """Return the lines of a log, and where each of them stands."""
    lines, links, last = [], [], START
    for number, entry in enumerate(entries):
        text = line(entry, at + timedelta(seconds=number), last)
        last = Link(last.number + 1, line_hash(text))
        lines.append(text)
        links.append(last)
    return lines, links


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        "promotion.done", f"ada {number}", number, "192.0.2.1", AuditOutcome.DONE, "default", "id", "fraud \u2028 ☃", 3,
        "alias:champion", 7, 5, {"version": 2, "share": 0.1}, {"version": 3}, "because",
    )  # fmt: skip


ENTRIES = [entry(number) for number in range(LENGTH)]
LINES, LINKS = chained(ENTRIES)


def of(number: int, link: Link | None = None, log_id: str = "log") -> Checkpoint:
    return Checkpoint(log_id, link or LINKS[number - 1], AT + timedelta(minutes=number))


def prove(lines: list[str], *checkpoints: Checkpoint) -> Report:
    return verify((text.encode() + b"\n" for text in lines), checkpoints)


def found(lines: list[str], *checkpoints: Checkpoint) -> str:
    report = prove(lines, *(checkpoints or (of(LENGTH),)))
    assert not report.is_intact, "it was not found"
    return report.problems[0]


def test_a_log_as_it_was_written_is_proven() -> None:
    report = prove(LINES, of(3), of(LENGTH - 2))
    assert (report.is_intact, report.entries, report.proven_to, report.notes) == (True, LENGTH, LENGTH - 2, [])


def test_an_export_can_be_followed_with_sha256_alone() -> None:
    previous = NOTHING
    for text in LINES:
        assert json.loads(text)["previous"] == previous
        previous = hashlib.sha256(text.encode()).hexdigest()


def test_a_line_holds_every_field_of_an_entry() -> None:
    told = json.loads(LINES[0])
    assert told.keys() == FIELDS
    assert {*AuditEntry.__dataclass_fields__, "number", "previous", "at"} == FIELDS
    assert told["at"] == "2026-05-12T14:00:00.123Z"


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("number", range(1, LENGTH + 1))
def test_a_changed_field_is_found(field: str, number: int) -> None:
    told = json.loads(LINES[number - 1])
    told[field] = {"other": 1} if isinstance(told[field], dict) else 99 if isinstance(told[field], int) else "other"
    assert found([*LINES[: number - 1], json.dumps(told, ensure_ascii=False), *LINES[number:]])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_character_is_found(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, LENGTH - 1))
    at = data.draw(st.integers(0, len(LINES[number]) - 1))
    other = data.draw(st.characters(exclude_characters=LINES[number][at] + "\r\n", codec="utf-8"))
    changed = LINES[number][:at] + other + LINES[number][at + 1 :]
    assert found([*LINES[:number], changed, *LINES[number + 1 :]])


def test_a_missing_or_a_foreign_field_is_named() -> None:
    told = json.loads(LINES[1])
    del told["actor"]
    assert "`actor`" in found([LINES[0], json.dumps(told), *LINES[2:]])
    assert "`note`" in found([LINES[0], json.dumps({**json.loads(LINES[1]), "note": 1}), *LINES[2:]])


@pytest.mark.parametrize("number", range(1, LENGTH))
def test_a_dropped_entry_is_found(number: int) -> None:
    said = found([*LINES[: number - 1], *LINES[number:]])
    assert said == f"After entry {number - 1} comes entry {number + 1}: entry {number} is missing."


def test_entries_in_another_order_or_twice_are_found() -> None:
    assert "missing" in found([LINES[0], LINES[2], LINES[1], *LINES[3:]])
    assert "order, or twice" in found([LINES[0], LINES[1], LINES[1], *LINES[2:]])


@pytest.mark.parametrize("kept", range(LENGTH))
def test_a_cut_off_tail_is_found_by_the_checkpoint(kept: int) -> None:
    assert prove(LINES[:kept]).is_intact  # Nothing else can.
    assert f"ends with entry {kept}, and the checkpoint" in found(LINES[:kept])


def test_a_log_that_was_made_anew_is_found_by_the_checkpoint() -> None:
    anew, links = chained([*ENTRIES[:3], replace(ENTRIES[3], actor="eve"), *ENTRIES[4:]])
    assert prove(anew, of(3)).is_intact  # So far it is the same.
    assert found(anew).startswith(f"Entry {LENGTH} is not what the checkpoint of 2026-05-12 14:09:00 UTC is of")
    assert prove(anew, of(LENGTH, links[-1])).is_intact


def test_a_log_that_does_not_begin_at_its_beginning_is_found() -> None:
    assert "missing" in found(LINES[2:])
    assert "not the first" in found([LINES[0].replace(NOTHING, "1" * 64)], of(1))


def test_what_is_newer_than_every_checkpoint_is_not_called_proven() -> None:
    assert prove(LINES, of(4)).proven_to == 4
    assert prove(LINES).proven_to is None


def test_what_is_no_entry_is_found() -> None:
    for text in ("", "x", "[]", "{}", '{"number": true}', '{"number": "1"}', "[" * 100_000):
        assert found([*LINES[:3], text, *LINES[3:]])


def test_checkpoints_of_another_log_are_found() -> None:
    assert "another log" in found(LINES, of(2, log_id="other"), of(LENGTH))


def test_a_restore_that_was_acknowledged_is_no_problem_and_told() -> None:
    """Entries 5 to 9 were written, and signed at 9; then the database of entry 4 went on."""
    restored = AuditEntry(
        "log.restored", "lockgate", None, "", reason="disk failed",
        before={"log_id": "log", "number": LENGTH, "hash": LINKS[-1].hash}, after={"log_id": "log", "number": 4},
    )  # fmt: skip
    lines, links = chained([*ENTRIES[:4], restored, *ENTRIES[:2]])
    later = Checkpoint("log", links[-1], AT + timedelta(hours=1))
    report = prove(lines, of(3), of(6), of(LENGTH), later)
    assert (report.problems, report.proven_to) == ([], 7)
    assert "disk failed" in report.notes[0]
    without = [text.replace("log.restored", "log.restores") for text in lines]
    assert not prove(without, of(3), of(6), of(LENGTH)).is_intact


def test_a_checkpoint_is_believed_only_from_its_key() -> None:
    signed = checkpoint.sign(of(3), SIGNER)
    [key] = read_public_keys(SIGNER.public_key.encode())
    kept = json.loads(as_line(signed))
    assert checkpoint.read(kept, [key]) == replace(of(3), at=of(3).at.replace(microsecond=123000))
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(BadInput, match="signature"):
        checkpoint.read(kept, [other])
    forged = checkpoint.sign(of(4), SIGNER)
    for name in ("payload", "payloadType"):
        with pytest.raises(BadInput):
            checkpoint.read({**signed, name: {**forged, "payloadType": "other"}[name]}, [key])
    with pytest.raises(BadInput):
        checkpoint.read({**signed, "signatures": []}, [key])


@pytest.mark.parametrize(
    "broken", [None, [], {}, {"payload": 1}, {"payload": "!", "signatures": [], "payloadType": ""}]
)
def test_what_is_no_envelope_is_said_to_be_none(broken: object) -> None:
    with pytest.raises(BadInput):
        checkpoint.read(broken, None)


def test_what_is_no_key_is_said_to_be_none() -> None:
    for text in (b"", b"x", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(BadInput, match="PEM"):
            read_public_keys(text)
    assert len(read_public_keys(SIGNER.public_key.encode() * 2)) == 2


def test_secrets_at_rest_need_the_same_key_for_the_same_purpose() -> None:
    at_rest = AtRest("a" * 24, "signing key")
    stored = at_rest.encrypt(b"secret")
    assert AtRest("a" * 24, "signing key").decrypt(stored) == b"secret"
    assert "secret" not in stored
    for other in (AtRest("b" * 24, "signing key"), AtRest("a" * 24, "webhook")):
        with pytest.raises(BadInput, match="not the one"):
            other.decrypt(stored)
    with pytest.raises(BadInput, match="guessed"):
        AtRest("a" * 23, "signing key")
