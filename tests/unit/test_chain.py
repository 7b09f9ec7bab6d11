"""The hash chain, its checkpoints and their proof without a server: what somebody does to an export is found."""

import hashlib
import json
from collections.abc import Collection
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
from lockgate.audit.restore import RESTORED
from lockgate.audit.verify import Report, verify
from lockgate.canonical import canonical
from lockgate.errors import BadInput
from lockgate.events.event import EventType

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


def prove(lines: list[str], *checkpoints: Checkpoint, accepted: Collection[int] = ()) -> Report:
    return verify((text.encode() + b"\n" for text in lines), checkpoints, accepted)


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


def test_a_line_is_canonical_json() -> None:
    for text in LINES:
        assert canonical(json.loads(text)) == text


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


def restored(kept: int, given_up: int = LENGTH, log_id: str = "log") -> AuditEntry:
    return AuditEntry(
        RESTORED, "lockgate", None, "", reason="disk failed",
        before={"log_id": log_id, "number": given_up, "hash": "x"}, after={"log_id": "log", "number": kept, "hash": "y"},
    )  # fmt: skip


def test_the_proof_knows_the_event_of_a_restore() -> None:
    assert RESTORED == EventType.LOG_RESTORED


#: Entries 5 to 9 were written, and signed at 9; then the database of entry 4 went on with entry 5, the restore.
GONE_ON, GONE_ON_LINKS = chained([*ENTRIES[:4], restored(4), *ENTRIES[:2]])
LATER = Checkpoint("log", GONE_ON_LINKS[-1], AT + timedelta(hours=1))


def test_a_restore_is_no_silent_success() -> None:
    checkpoints = (of(3), of(6), of(LENGTH), LATER)
    report = prove(GONE_ON, *checkpoints)
    [said] = report.problems
    assert "disk failed" in said
    assert "checkpoints of the entries 5 to 9 are given up" in said
    assert "--accept-restore 5" in said
    assert not prove(GONE_ON, *checkpoints, accepted=[4]).is_intact
    report = prove(GONE_ON, *checkpoints, accepted=[5])
    assert (report.problems, report.proven_to) == ([], 7)
    assert "disk failed" in report.notes[0]
    assert [one.entry for one in report.restores] == [5]


def test_without_its_entry_a_restore_excuses_nothing() -> None:
    without = [text.replace("log.restored", "log.restores") for text in GONE_ON]
    assert not prove(without, of(3), of(6), of(LENGTH), accepted=[5]).is_intact


def test_a_forged_restore_excuses_nothing() -> None:
    """Whoever writes to the database has no key: no checkpoint proves the entry."""
    forged, _ = chained([*(replace(one, actor="eve") for one in ENTRIES[:3]), restored(0, 10**9), *ENTRIES])
    all_of_them = [of(number) for number in range(1, LENGTH + 1)]
    report = prove(forged, *all_of_them, accepted=[4])
    assert report.proven_to is None
    assert len(report.problems) == LENGTH + 1
    assert "No checkpoint proves that entry" in report.problems[-1]
    of_another = [replace(one, log_id="other") for one in all_of_them]
    forged, _ = chained([restored(0, 0, "other"), *ENTRIES])
    assert not prove(forged, *of_another, of(LENGTH), accepted=[1]).is_intact
    # A checkpoint of before the restore proves nothing of it either.
    assert not prove(GONE_ON, of(3), of(6), of(LENGTH), accepted=[5]).is_intact


def test_a_restore_excuses_only_what_it_gave_up() -> None:
    """A backup that was altered before it was restored."""
    altered, links = chained([replace(ENTRIES[0], actor="eve"), *ENTRIES[1:4], restored(4)])
    report = prove(altered, of(2), of(LENGTH), Checkpoint("log", links[-1], LATER.at), accepted=[5])
    assert report.problems[0].startswith("Entry 2 is not what the checkpoint of 2026-05-12 14:02:00 UTC is of")
    # What was signed after it is not excused either.
    cut, links = chained([*ENTRIES[:4], restored(4, 6), ENTRIES[0]])
    report = prove(cut, of(LENGTH), Checkpoint("log", links[-1], LATER.at), accepted=[5])
    assert "The log ends with entry 6, and the checkpoint" in report.problems[0]


def test_a_restore_that_gave_up_more_than_a_tail_says_so() -> None:
    changed, links = chained([ENTRIES[0], replace(ENTRIES[1], actor="eve"), *ENTRIES[2:4], restored(1)])
    report = prove(changed, of(1), of(3), of(LENGTH), Checkpoint("log", links[-1], LATER.at))
    assert "also of entries that the database had then (2 to 4)" in report.problems[0]


def test_giving_up_another_log_gives_up_all_of_it() -> None:
    lines, links = chained([*ENTRIES[:2], restored(2, 7, "other"), ENTRIES[3]])
    newest = Checkpoint("log", links[-1], LATER.at)
    report = prove(lines, of(1, log_id="other"), of(LENGTH, log_id="other"), newest, accepted=[3])
    assert (report.problems, report.proven_to) == ([], 4)
    assert "all checkpoints of the log other... are given up" in report.notes[0]


def test_checkpoints_of_which_none_agrees_prove_nothing() -> None:
    report = prove(LINES, of(2, Link(2, "other")))
    assert (report.is_intact, report.proven_to) == (False, None)


def test_a_restore_that_does_not_say_of_what_is_found() -> None:
    for entry in (replace(restored(4), before={}), replace(restored(4), after={"log_id": "log", "number": "x"})):
        lines, links = chained([*ENTRIES, entry])
        assert "does not say of what" in prove(lines, Checkpoint("log", links[-1], LATER.at)).problems[0]


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


def test_the_first_of_several_keys_encrypts_and_all_decrypt() -> None:
    old, new, both = (AtRest(keys, "webhook") for keys in ("a" * 24, "b" * 24, "b" * 24 + "," + "a" * 24))
    before, anew = old.encrypt(b"secret"), both.encrypt(b"secret")
    assert (both.decrypt(before), new.decrypt(anew)) == (b"secret", b"secret")
    assert (both.is_newest(before), both.is_newest(anew), old.opens(anew)) == (False, True, False)
    assert new.decrypt(both.anew(before)) == b"secret"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("a" * 24 + ",", "guessed"),
        ("," + "a" * 24, "guessed"),
        ("a" * 24 + "," + "b" * 23, "guessed"),
        ("a" * 24 + ", " + "b" * 24, "blanks"),
        ("a" * 24 + "," + "a" * 24, "twice"),
    ],
)
def test_malformed_keys_are_refused_without_being_shown(keys: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        AtRest(keys, "webhook")
    assert "aaa" not in refused.value.message
