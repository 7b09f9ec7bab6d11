"""The audit log through the server: exported, verified, signed; decisions as bundles; refused changes on record."""

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lockgate.access.attempts import PER_PRINCIPAL
from lockgate.audit.chain import line_hash
from tests.adversarial.bait import bait
from tests.house import ONE_APPROVAL, House

TARGET = "alias:champion"


@pytest.fixture
def proof(house: House, tmp_path: Path) -> Path:
    """A folder with an export, the server's public key, and a checkpoint that is a little older than the export."""
    house.promote(house.new_model(), "1", TARGET)
    for name in ("key", "checkpoint"):
        (tmp_path / name).write_text(house.cli("vic", "audit", name).stdout)
    house.new_model()
    exported = house.cli("max", "audit", "export")
    assert exported.returncode == 0, exported.stderr
    (tmp_path / "export").write_text(exported.stdout, encoding="utf-8")
    return tmp_path


def verify(house: House, folder: Path, *more: str) -> tuple[int, str]:
    files = [word for name in ("export", "checkpoint", "key") for word in (f"--{name}", str(folder / name))]
    done = house.cli("vic", "audit", "verify", *files, *more)
    return done.returncode, done.stdout + done.stderr


def test_the_log_is_proven_by_the_server_and_without_it(house: House, proof: Path) -> None:
    done = house.cli("max", "audit", "verify")
    assert done.returncode == 0, done.stderr
    assert "each follows the one before it" in done.stdout
    code, said = verify(house, proof)
    assert code == 0, said
    assert "newer than every checkpoint" in said
    code, said = verify(house, proof, "--json")
    told = json.loads(said)
    assert (code, told["intact"], told["signatures_verified"], told["restores"]) == (0, True, True, [])
    assert 0 < told["proven_to"] < told["entries"]


def test_what_was_done_to_an_export_is_found(house: House, proof: Path) -> None:
    lines = (proof / "export").read_bytes().splitlines()
    signed = json.loads(base64.b64decode(json.loads((proof / "checkpoint").read_text())["payload"]))["number"]
    for changed in (
        [*lines[:4], lines[4].replace(b'"outcome":"done"', b'"outcome":"refused"'), *lines[5:]],
        lines[: signed - 1],
        [*lines[:6], *lines[7:]],
    ):
        assert changed != lines
        (proof / "export").write_bytes(b"\n".join(changed))
        assert verify(house, proof)[0] == 1


def test_a_forged_checkpoint_is_refused(house: House, proof: Path) -> None:
    told = json.loads((proof / "checkpoint").read_text())
    stated = {**json.loads(base64.b64decode(told["payload"])), "number": 1}
    told["payload"] = base64.b64encode(json.dumps(stated).encode()).decode()
    (proof / "checkpoint").write_text(json.dumps(told))
    code, said = verify(house, proof)
    assert code == 1
    assert "line 1: The signature is not of the given key" in said


def test_all_of_the_log_is_for_who_governs(house: House) -> None:
    for path in ("/audit/export", "/audit/verify"):
        assert "change policies" in house.call("vic", "GET", path, status=403)["message"]
    assert house.call("max", "GET", "/audit/verify?max_results=3")["next_after"] == 3
    found = house.call("max", "GET", "/audit/verify")
    assert (found["intact"], found["problems"], found["next_after"]) == (True, [], None)


def test_who_sees_a_model_exports_what_they_see_of_it(house: House) -> None:
    model = house.new_model()
    lines = house.cli("vic", "audit", "export", "--model", model).stdout.splitlines()
    assert {json.loads(line)["model"] for line in lines} == {model}


# Bundles


def test_an_auditor_verifies_a_bundle_with_nothing_of_ours(house: House) -> None:
    model = house.new_model()
    request = house.promote(model, "1", TARGET)["id"]
    bundle = json.loads(house.cli("vic", "audit", "bundle", str(request)).stdout)
    pem = house.cli("vic", "audit", "key").stdout.encode()

    # These lines are those of docs/howto/prove-the-audit-log.md.
    key = load_pem_public_key(pem)
    body, kind = base64.b64decode(bundle["payload"]), bundle["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    key.verify(base64.b64decode(bundle["signatures"][0]["sig"]), signed)  # type: ignore[union-attr,call-arg]
    statement = json.loads(body)

    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(bundle["signatures"][0]["sig"]), signed + b" ")  # type: ignore[union-attr,call-arg]
    evidence = house.call("vic", "GET", f"/requests/{request}")["evidence"]
    told = statement["predicate"]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "urn:lockgate:decision:v1"
    subjects = {one["name"]: "sha256:" + one["digest"]["sha256"] for one in statement["subject"]}
    assert subjects[f"models:/{model}/1#evidence"] == evidence["digest"]
    assert f"models:/{model}/1" in subjects
    assert (told["decision"]["by"], told["decision"]["target"], told["request"]["requester"]) == ("bot", TARGET, "ada")
    assert [(one["reviewer"], one["verdict"]) for one in told["request"]["reviews"]] == [("sue", "approve")]
    assert "approvals" in told["policy"]["source"]
    bundle = json.loads(house.cli("max", "audit", "bundle", str(request)).stdout)
    told = json.loads(base64.b64decode(bundle["payload"]))["predicate"]
    exported = house.cli("max", "audit", "export").stdout.splitlines()
    assert {one["line"] for one in told["log"]["entries"]} <= set(exported)
    assert [json.loads(one["line"])["action"] for one in told["log"]["entries"]][-1] == "promotion.done"


def test_a_request_that_was_carried_out_leads_to_its_decision_and_bundle(house: House) -> None:
    model = house.new_model(versions=2)
    done = house.promote(model, "1", TARGET)
    path = f"/requests/{done['id']}"
    [held] = house.call("vic", "GET", f"/models/{model}/history")["history"]
    assert (done["decision_id"], done["decided_at"]) == (held["decision_id"], held["from"])
    for shown in (house.call("vic", "GET", path), house.call("vic", "GET", f"/requests?model={model}")["requests"][0]):
        assert (shown["decision_id"], shown["decided_at"]) == (done["decision_id"], done["decided_at"])
    page = house.http("vic").get(f"/lockgate{path}").text
    assert f"by decision {done['decision_id']}" in page
    linked = re.search(r'href="(/api/lockgate/v1/decisions/[^"]+)"', page)
    assert linked is not None
    assert house.http("vic").get(linked[1]).json() == house.call("vic", "GET", f"{path}/bundle")
    assert f"by decision {done['decision_id']}" in house.cli("vic", "show", str(done["id"])).stdout

    asked = house.ask(model, "2", TARGET)
    assert (asked["decision_id"], asked["decided_at"]) == (None, None)
    rejected = house.call("sue", "POST", f"/requests/{asked['id']}/reject", {})
    assert (rejected["decision_id"], rejected["decided_at"]) == (None, None)
    assert "by decision" not in house.http("vic").get(f"/lockgate/requests/{asked['id']}").text


def test_the_command_verifies_a_bundle(house: House, tmp_path: Path) -> None:
    model = house.new_model(versions=2)
    house.promote(model, "1", TARGET)
    house.promote(model, "2", TARGET)
    back = house.call("oz", "POST", f"/models/{model}/rollback", {"target": TARGET, "reason": "wrong"})
    (tmp_path / "bundle").write_text(house.cli("vic", "audit", "bundle", "--decision", str(back["id"])).stdout)
    (tmp_path / "key").write_text(house.cli("vic", "audit", "key").stdout)
    command = "audit", "verify-bundle", str(tmp_path / "bundle"), "--key", str(tmp_path / "key")
    done = house.cli("vic", *command)
    assert done.returncode == 0, done.stderr
    assert f"{TARGET} of {model}: version 1. wrong" in done.stdout
    assert "returns to what decision" in done.stdout
    assert "sue approved" in done.stdout
    told = json.loads((tmp_path / "bundle").read_text())
    body = base64.b64decode(told["payload"]).replace(b'"by":"oz"', b'"by":"ed"')
    (tmp_path / "bundle").write_text(json.dumps({**told, "payload": base64.b64encode(body).decode()}))
    done = house.cli("vic", *command)
    assert done.returncode == 1
    assert "signature" in done.stderr


def test_a_refused_review_is_no_review_in_a_bundle(house: House) -> None:
    asked = house.ask(house.new_model(), "1", TARGET)["id"]
    house.call("ada", "POST", f"/requests/{asked}/approve", {}, 403)
    house.call("sue", "POST", f"/requests/{asked}/approve", {})
    house.call("bot", "POST", f"/requests/{asked}/promote", {})
    [review] = signed(house, "vic", f"/requests/{asked}")["predicate"]["request"]["reviews"]
    assert (review["reviewer"], review["verdict"]) == ("sue", "approve")


def test_the_bundle_of_a_rollback_has_what_it_returns_to(house: House) -> None:
    model = house.new_model(versions=2)
    first = house.promote(model, "1", TARGET)
    house.promote(model, "2", TARGET)
    again = house.call("oz", "POST", f"/models/{model}/rollback", {"target": TARGET, "reason": "wrong"})
    stated, earlier = (signed(house, "max", f"/decisions/{one}") for one in (again["id"], first["decision_id"]))
    told, before = stated["predicate"], earlier["predicate"]
    assert stated["subject"] == earlier["subject"]
    assert (told["evidence"], told["request"]) == (before["evidence"], None)
    rests_on = told["rests_on"]
    assert (rests_on["decision"], rests_on["kind"], rests_on["by"]) == (first["decision_id"], "promotion", "bot")
    assert (rests_on["evidence_digest"], rests_on["request"]) == (first["evidence"]["digest"], first["id"])
    assert rests_on["reviews"] == before["request"]["reviews"] != []
    entries = [one["number"] for one in told["log"]["entries"]]
    assert entries == sorted(entries)
    assert {one["number"] for one in before["log"]["entries"]} < set(entries)
    assert before["rests_on"] is None

    # What was forged since is not signed either.
    reviewed = f"action = 'request.reviewed' AND request_id = {first['id']}"
    with forged(house, "lockgate_audit", reviewed, actor="sam"):
        assert (
            "is not what was chained"
            in house.call("vic", "GET", f"/decisions/{again['id']}/bundle", status=409)["message"]
        )


def test_the_bundle_of_a_rollback_to_a_break_glass_has_its_review_and_not_one_that_nobody_approved(
    house: House,
) -> None:
    model = house.new_model(versions=3)
    emergency = {"model": model, "target": TARGET, "reason": "the other one fails", "ticket": "INC-1"}
    first = house.call("oz", "POST", "/break-glass", {**emergency, "version": "1"})
    house.call("sue", "POST", f"/break-glass/{first['break_glass']}/review", {"verdict": "approve", "comment": "right"})
    house.promote(model, "2", TARGET)
    house.call("oz", "POST", "/break-glass", {**emergency, "version": "1"})
    house.promote(model, "3", TARGET)
    for version in ("2", "1"):
        again = house.call("oz", "POST", f"/models/{model}/rollback", {"target": TARGET, "reason": "wrong"})
        assert again["version"] == version
    rests_on = signed(house, "vic", f"/decisions/{again['id']}")["predicate"]["rests_on"]
    assert (rests_on["decision"], rests_on["kind"], rests_on["request"]) == (first["id"], "break-glass", None)
    assert [(one["reviewer"], one["comment"]) for one in rests_on["reviews"]] == [("sue", "right")]


def test_the_bundle_of_a_break_glass_is_about_the_files_that_were_reviewed(house: House) -> None:
    """They are hashed only after the glass was broken."""
    target = bait(house)
    with (target.folder / "weights").open("wb") as file:
        file.truncate(40 * 1024 * 1024)
    emergency = {"model": target.model, "version": "1", "target": TARGET, "reason": "the other one fails"}
    done = house.call("oz", "POST", "/break-glass", emergency)
    before = signed(house, "vic", f"/decisions/{done['id']}")
    assert before["predicate"]["evidence"]["artifacts"]["state"] == "pending"
    approve = {"url": f"/api/lockgate/v1/break-glass/{done['break_glass']}/review", "json": {"verdict": "approve"}}
    until = time.monotonic() + 60
    while (reviewed := house.http("sue").post(**approve)).status_code == 409:
        assert time.monotonic() < until, reviewed.text
        time.sleep(0.2)
    stated = signed(house, "vic", f"/decisions/{done['id']}")
    assert [one["name"] for one in stated["subject"]] == [
        f"models:/{target.model}/1",
        f"models:/{target.model}/1#evidence",
    ]
    assert stated["predicate"]["evidence"]["artifacts"]["state"] == "hashed"


def test_there_is_no_bundle_of_what_was_not_decided(house: House) -> None:
    request = house.ask(house.new_model(), "1", TARGET)["id"]
    assert "no decision" in house.call("vic", "GET", f"/requests/{request}/bundle", status=404)["message"]
    house.call("vic", "GET", "/decisions/99999/bundle", status=404)


def test_a_bundle_tells_nobody_of_a_request_that_they_may_not_see(house: House) -> None:
    house.call("admin", "POST", "/principals", {"name": "narrow", "roles": ["viewer:other-*"]})
    house.tokens["narrow"] = house.call("admin", "POST", "/tokens", {"principal": "narrow"})["token"]
    decided = house.promote(house.new_model(), "1", TARGET)["id"]
    asked = house.ask(house.new_model(), "1", TARGET)["id"]
    for request in (decided, asked, 99_999):
        told = house.call("narrow", "GET", f"/requests/{request}", status=404)
        assert house.call("narrow", "GET", f"/requests/{request}/bundle", status=404)["message"] == told["message"]


def signed(house: House, who: str, of: str) -> dict[str, Any]:
    told = house.call(who, "GET", f"{of}/bundle")
    stated: dict[str, Any] = json.loads(base64.b64decode(told["payload"]))
    return stated


def test_addresses_are_for_who_governs_and_a_viewer_proves_all_the_same(house: House, tmp_path: Path) -> None:
    request = house.promote(house.new_model(), "1", TARGET)["id"]
    for who in ("max", "vic"):
        entries = signed(house, who, f"/requests/{request}")["predicate"]["log"]["entries"]
        assert {"line" in one for one in entries} == {who == "max"}
        (tmp_path / "bundle").write_text(house.cli(who, "audit", "bundle", str(request)).stdout)
        (tmp_path / "key").write_text(house.cli(who, "audit", "key").stdout)
        (tmp_path / "export").write_text(house.cli("max", "audit", "export").stdout, encoding="utf-8")
        command = "audit", "verify-bundle", str(tmp_path / "bundle"), "--key", str(tmp_path / "key")
        done = house.cli(who, *command, "--export", str(tmp_path / "export"))
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "The export has all entries of it."), done.stderr
        lines = (tmp_path / "export").read_text(encoding="utf-8").splitlines()
        other = lines[entries[0]["number"] - 1].replace('"outcome":"done"', '"outcome":"refused"')
        (tmp_path / "export").write_text(
            "\n".join([*lines[: entries[0]["number"] - 1], other, *lines[entries[0]["number"] :]]), encoding="utf-8"
        )
        done = house.cli(who, *command, "--export", str(tmp_path / "export"))
        assert done.returncode == 1
        assert "is not what the export has" in done.stderr


@contextmanager
def forged(house: House, table: str, row: str, **values: str) -> Iterator[None]:
    """Change a row, and put it back."""
    [before] = house.rows(f"SELECT {', '.join(values)} FROM {table} WHERE {row}")
    house.tamper(_change(table, row, values))
    try:
        yield
    finally:
        house.tamper(_change(table, row, dict(zip(values, map(str, before), strict=True))))


def _change(table: str, row: str, values: dict[str, str]) -> str:
    def quoted(value: str) -> str:
        return "'" + value.replace("'", "''") + "'"

    return f"UPDATE {table} SET {', '.join(f'{name} = {quoted(value)}' for name, value in values.items())} WHERE {row}"


def test_nothing_is_signed_about_what_was_tampered_with(house: House) -> None:
    request = house.promote(house.new_model(), "1", TARGET)["id"]
    reviewed = f"action = 'request.reviewed' AND request_id = {request}"
    with forged(house, "lockgate_audit", reviewed, actor="sam"):
        said = house.call("vic", "GET", f"/requests/{request}/bundle", status=409)["message"]
        assert "is not what was chained" in said
        done = house.cli("max", "audit", "verify")
        assert done.returncode == 1
        assert 'its `actor` is "sam", and its event says "sue"' in done.stderr
    house.call("vic", "GET", f"/requests/{request}/bundle")


def test_an_entry_that_was_forged_with_its_hash_is_not_signed(house: House) -> None:
    request = house.promote(house.new_model(), "1", TARGET)["id"]
    exported = house.cli("max", "audit", "export").stdout.splitlines()
    [line] = [one for one in exported if f'"request_id":{request}' in one and '"action":"request.reviewed"' in one]
    number = json.loads(line)["number"]
    fits = line_hash(line.replace('"actor":"sue"', '"actor":"sam"'))
    with forged(house, "lockgate_audit", f"id = {number}", actor="sam", hash=fits):
        said = house.call("vic", "GET", f"/requests/{request}/bundle", status=409)["message"]
        assert f"Entry {number:,} of the audit log is not what was chained" in said


def test_evidence_that_was_forged_with_its_digest_is_not_signed(house: House) -> None:
    request = house.promote(house.new_model(), "1", TARGET)["id"]
    [(stored,)] = house.rows(f"SELECT evidence FROM lockgate_requests WHERE id = {request}")
    better = stored.replace('"val_auc":0.9', '"val_auc":0.999')
    assert better != stored
    digest = "sha256:" + hashlib.sha256(better.encode()).hexdigest()
    with (
        forged(house, "lockgate_requests", f"id = {request}", evidence=better, evidence_digest=digest),
        forged(house, "lockgate_decisions", f"request_id = {request}", evidence_digest=digest),
        forged(house, "lockgate_reviews", f"request_id = {request}", evidence_digest=digest),
    ):
        said = house.call("vic", "GET", f"/requests/{request}/bundle", status=409)["message"]
        assert "The evidence of this decision is not what was decided on" in said


def test_what_other_tables_say_of_a_decision_is_not_signed(house: House) -> None:
    house.apply_policy(ONE_APPROVAL)
    request = house.promote(house.new_model(), "1", TARGET)["id"]
    before = signed(house, "vic", f"/requests/{request}")["predicate"]
    [(sam,)] = house.rows("SELECT id FROM lockgate_principals WHERE name = 'sam'")
    words = {"comment": "I, sam, have looked at all of it"}
    with (
        forged(house, "lockgate_reviews", f"request_id = {request}", reviewer_id=str(sam), **words),
        forged(house, "lockgate_decisions", f"request_id = {request}", reason="forged", by_id=str(sam)),
        forged(house, "lockgate_requests", f"id = {request}", comment="forged", requester_id=str(sam)),
        forged(
            house, "lockgate_policies", f"version = {before['policy']['version']}", source="version: 1\nrules: []\n"
        ),
    ):
        assert signed(house, "vic", f"/requests/{request}")["predicate"] == before


# Refused changes


def refusals(house: House, who: str) -> list[dict[str, object]]:
    entries = house.call("admin", "GET", "/audit?max_results=200")["entries"]
    return [entry for entry in entries if entry["actor"] == who and entry["outcome"] == "refused"]


def newcomer(house: House, *roles: str) -> str:
    name = f"someone-{len(house.tokens)}"
    house.call("admin", "POST", "/principals", {"name": name, "roles": list(roles)})
    house.tokens[name] = house.call("admin", "POST", "/tokens", {"principal": name})["token"]
    return name


def test_a_refused_change_is_on_record_once(house: House) -> None:
    who, model = newcomer(house, "viewer"), house.new_model()
    house.call(who, "PUT", "/policies", {"source": "version: 1\nrules: []\n"}, status=403)
    [entry] = refusals(house, who)
    assert (entry["action"], entry["after"]) == ("call.refused", {"call": "PUT /api/lockgate/v1/policies"})
    assert "may not change policies" in str(entry["reason"])
    for path in ("registered-models/alias", "runs/create"):
        answer = house.http(who).post(f"/api/2.0/mlflow/{path}", json={"name": model, "alias": "x", "version": "1"})
        assert answer.status_code == 403
    assert len(refusals(house, who)) == 3
    asked = house.ask(model, "1", TARGET)["id"]
    house.call(who, "POST", f"/requests/{asked}/promote", {}, status=403)
    assert [one["action"] for one in refusals(house, who)].count("promotion.refused") == 1
    assert len(refusals(house, who)) == 4
    assert not [
        one
        for one in house.call(who, "GET", "/audit?max_results=200")["entries"]
        if one["actor"] == "ada" and one["action"] == "call.refused"
    ]


def test_who_has_no_role_is_on_record_with_what_they_tried(house: House) -> None:
    who = newcomer(house)
    house.call(who, "POST", "/requests", {}, status=403)
    [entry] = refusals(house, who)
    assert "has no role yet" in str(entry["reason"])


def test_what_only_reads_leaves_no_entry(house: House) -> None:
    who = newcomer(house, "viewer")
    house.call(who, "GET", "/audit/export", status=403)
    assert house.http(who).get("/api/2.0/mlflow/webhooks").status_code == 403
    assert house.http(who).post("/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"]}).status_code == 200
    assert refusals(house, who) == []


def test_refusals_do_not_fill_the_disk(house: House) -> None:
    who = newcomer(house, "viewer")
    for _ in range(PER_PRINCIPAL + 5):
        house.call(who, "PUT", "/policies", {"source": ""}, status=403)
    told = refusals(house, who)
    assert len(told) == PER_PRINCIPAL
    assert "not recorded before" in str(told[0]["reason"])
    assert "not recorded before" not in str(told[1]["reason"])
