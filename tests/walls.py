"""Take each wall away in turn, and see that a test notices.

    python -m tests.walls [--only WORD] [--write]

A wall is a piece of the code that keeps something out. Each is taken out of a copy of the source, and the tests that
should notice are run on that copy: at least one of them has to fail, or else it would not be missed if somebody took
it away by mistake. `--write` writes the table in docs/walls.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs/walls.md"
_MARK = "| wall | taken away in | noticed by |\n| --- | --- | --- |\n"


@dataclass(frozen=True)
class Wall:
    """Something that keeps something out, and what it looks like when it does not."""

    name: str
    file: str
    stands: str
    falls: str
    #: As pytest takes them; the first that fails is told.
    tests: tuple[str, ...]


def _gate(test: str) -> str:
    return f"tests/integration/test_gate.py::{test}"


WALLS: Sequence[Wall] = (
    Wall(
        "PostgreSQL refuses a stage that moves without a grant",
        "database/guard/postgresql.sql",
        "        PERFORM @schema@.lockgate_gain(\n"
        "            NEW.workspace::text, NEW.name::text, NEW.version, 'stage:' || NEW.current_stage);\n",
        "        NULL;\n",
        ("tests/adversarial/test_guard.py",),
    ),
    Wall(
        "PostgreSQL refuses an alias that moves without a grant",
        "database/guard/postgresql.sql",
        "        PERFORM @schema@.lockgate_gain(NEW.workspace::text, NEW.name::text, NEW.version, 'alias:' || NEW.alias);\n",
        "        NULL;\n",
        ("tests/adversarial/test_guard.py",),
    ),
    Wall(
        "a grant rests on a decision of the same evidence",
        "database/guard/postgresql.sql",
        "          AND d.evidence_digest = given.evidence_digest\n",
        "",
        ("tests/adversarial/test_guard.py::test_a_grant_that_does_not_fit_is_none",),
    ),
    Wall(
        "a grant rests on a decision that was not used before",
        "database/guard/postgresql.sql",
        "          AND NOT EXISTS (SELECT FROM @schema@.lockgate_holders AS h WHERE h.decision_id = d.id)\n",
        "",
        ("tests/adversarial/test_guard.py::test_nor_for_two_within_its_own_transaction",),
    ),
    Wall(
        "a grant is for one version and target",
        "database/guard/postgresql.sql",
        "      AND g.model_id = of_model AND g.version_id = held AND g.target = of_target\n"
        "    RETURNING g.* INTO given;\n"
        "    IF @schema@.lockgate_is_protected(of_target) AND NOT @schema@.lockgate_allows_gain(given) THEN\n",
        "    RETURNING g.* INTO given;\n"
        "    IF @schema@.lockgate_is_protected(of_target) AND NOT @schema@.lockgate_allows_gain(given) THEN\n",
        ("tests/adversarial/test_guard.py::test_a_grant_that_does_not_fit_is_none",),
    ),
    Wall(
        "what was approved keeps its source, storage location and run",
        "database/guard/postgresql.sql",
        "       OR @schema@.lockgate_is_decided(NEW.workspace::text, NEW.name::text, NEW.version) THEN\n",
        "       THEN\n",
        ("tests/adversarial/test_guard.py::test_what_was_approved_keeps_its_content",),
    ),
    Wall(
        "nothing takes the place of a version that was there",
        "database/guard/postgresql.sql",
        "    IF @schema@.lockgate_is_known(NEW.workspace::text, NEW.name::text, NEW.version) THEN\n",
        "    IF false THEN\n",
        ("tests/adversarial/test_guard_identity.py",),
    ),
    Wall(
        "nothing takes the place of a version that was there, on SQLite",
        "database/guard/sqlite.sql",
        "WHERE m.deleted_at IS NULL AND NOT EXISTS (\n",
        "WHERE 0 AND NOT EXISTS (\n",
        ("tests/adversarial/test_guard_identity.py",),
    ),
    Wall(
        "a model keeps its creation time",
        "database/guard/postgresql.sql",
        "        IF NEW.creation_time IS DISTINCT FROM OLD.creation_time THEN\n",
        "        IF false THEN\n",
        ("tests/adversarial/test_guard_identity.py",),
    ),
    Wall(
        "a protected alias doesn't go along with a model",
        "database/guard/postgresql.sql",
        "OR NOT @schema@.lockgate_is_protected('alias:' || OLD.alias) AND NOT EXISTS (\n",
        "OR NOT EXISTS (\n",
        ("tests/adversarial/test_guard_identity.py",),
    ),
    Wall(
        "who changes a model and the gate wait for each other",
        "database/guard/postgresql.sql",
        "    FOR NO KEY UPDATE;\n",
        "    ;\n",
        ("tests/adversarial/test_guard_concurrent.py",),
    ),
    Wall(
        "an earlier state is none to decide by",
        "database/guard/postgresql.sql",
        "    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN\n",
        "    IF false THEN\n",
        ("tests/adversarial/test_guard_concurrent.py",),
    ),
    Wall(
        "files are looked at where they are when the model is locked",
        "registry/facts.py",
        "    if files.location and files.location != known.location:\n",
        "    if False:\n",
        ("tests/adversarial/test_guard_concurrent.py",),
    ),
    Wall(
        "a rollback is to what was approved",
        "workflow/rollback.py",
        "        if was != now\n",
        "        if False\n",
        ("tests/integration/test_doctor.py::test_a_rollback_is_to_what_was_approved",),
    ),
    Wall(
        "a role that the guard would not bind is refused",
        "database/guard/roles.py",
        "    _check_bound(connection, roles)\n",
        "",
        ("tests/adversarial/test_guard_roles.py",),
    ),
    Wall(
        "nobody but the owner creates in the schema",
        "database/guard/roles.py",
        '    yield f"REVOKE ALL ON SCHEMA {schema} FROM {app}, {others}"\n',
        "",
        ("tests/adversarial/test_guard_roles.py",),
    ),
    Wall(
        "SQLite refuses what comes to a protected target without a grant",
        "database/guard/sqlite.sql",
        "    WHERE EXISTS (SELECT 1 FROM lockgate_protected WHERE target = NEW.target)\n"
        "      AND NOT EXISTS (\n"
        "          SELECT 1 FROM lockgate_known AS k\n",
        "    WHERE 0\n      AND NOT EXISTS (\n          SELECT 1 FROM lockgate_known AS k\n",
        ("tests/adversarial/test_guard.py",),
    ),
    Wall(
        "the history can't be rewritten",
        "database/guard/postgresql.sql",
        "    ended @schema@.lockgate_holders;\nBEGIN\n",
        "    ended @schema@.lockgate_holders;\nBEGIN\n    RETURN coalesce(NEW, OLD);\n",
        ("tests/adversarial/test_guard.py::test_nobody_writes_the_history",),
    ),
    Wall(
        "of several decided versions one holds a target (index)",
        "database/tables.py",
        '        unique=True,\n        sqlite_where=text("until IS NULL',
        '        unique=False,\n        sqlite_where=text("until IS NULL',
        ("tests/adversarial/test_guard.py::test_no_two_versions_are_brought_into_one_stage",),
    ),
    Wall(
        "a guard whose triggers don't always fire is noticed",
        "database/guard/differences.py",
        '    if found.enabled != "A":\n',
        "    if False:\n",
        ("tests/adversarial/test_guard_whole.py::test_damage_on_postgresql_is_found_and_put_right",),
    ),
    Wall(
        "the chain has no forks (index)",
        "database/tables.py",
        'Index("lockgate_audit_chain", "previous", unique=True)',
        'Index("lockgate_audit_chain", "previous")',
        ("tests/integration/test_chain.py::test_a_fork_is_impossible",),
    ),
    Wall(
        "what is altered in an entry is found",
        "database/chain.py",
        "    if line_hash(_line(row)) != row.hash:\n",
        "    if False:\n",
        ("tests/integration/test_chain.py",),
    ),
    Wall(
        "a checkpoint is believed only from its key",
        "audit/envelope.py",
        "    if keys is not None and not any(\n",
        "    if keys is not None and False and not any(\n",
        ("tests/unit/test_chain.py", "tests/integration/test_audit.py"),
    ),
    Wall(
        "a log that was cut off is found by its checkpoints",
        "audit/comparison.py",
        "    if number > log.last.number:\n",
        "    if number > log.last.number:\n        return None\n    if False:\n",
        ("tests/unit/test_chain.py",),
    ),
    Wall(
        "a restore excuses nothing that no checkpoint proves",
        "audit/comparison.py",
        "if agreeing.proves(restore)]\n",
        "if True]\n",
        ("tests/unit/test_chain.py", "tests/integration/test_checkpoints.py"),
    ),
    Wall(
        "a restored database doesn't start unnoticed",
        "workflow/checkpoints.py",
        "    if heard.contradicts and not acknowledged:\n",
        "    if False:\n",
        ("tests/integration/test_checkpoints.py",),
    ),
    Wall(
        "a key that was used for another call answers nothing",
        "server/once.py",
        "    if found.call != keyed.call:\n",
        "    if False:\n",
        ("tests/integration/test_once.py::test_a_key_belongs_to_one_call_of_one_principal",),
    ),
    Wall(
        "an answer belongs to whoever was given it",
        "server/once.py",
        "digest_of(principal.id, found[2])",
        "digest_of(0, found[2])",
        ("tests/integration/test_once.py::test_a_key_belongs_to_one_call_of_one_principal",),
    ),
    Wall(
        "a server that is too old doesn't write",
        "database/writers.py",
        "    if row is not None and row[0] > SCHEMA:\n",
        "    if False:\n",
        ("tests/integration/test_rollout.py",),
    ),
    Wall(
        "a server that is too old leaves a newer guard alone",
        "database/migrate.py",
        "    if _state(connection) in NEWER:\n        raise Outdated(",
        "    if False:\n        raise Outdated(",
        ("tests/integration/test_rollout.py::test_an_old_server_does_not_put_its_guard_over_a_newer_one",),
    ),
    Wall(
        "who hangs doesn't stop the others for ever",
        "database/engine.py",
        "_BEGIN_TO_WRITE if writes else _BEGIN",
        "_BEGIN",
        ("tests/integration/test_transaction.py", "tests/integration/test_many.py"),
    ),
    Wall(
        "one live request for the same thing (index)",
        "database/migrations/versions/0001_first_tables.py",
        '        unique=True,\n        sqlite_where=sa.text("state IN',
        '        unique=False,\n        sqlite_where=sa.text("state IN',
        ("tests/adversarial/test_guard.py::test_one_request_for_the_same_thing_is_alive",),
    ),
    Wall(
        "an entry's hash covers the one before",
        "database/record.py",
        "        last = following\n",
        "        pass\n",
        ("tests/integration/test_chain.py",),
    ),
    Wall(
        "nothing is anonymous",
        "server/edge.py",
        "            found = await anyio.to_thread.run_sync(self._authentication.who, request)\n",
        "            from lockgate.access.principals import LOCKGATE\n\n            found = Found(LOCKGATE.principal)\n",
        ("tests/integration/test_access.py::test_passwords_and_tokens_let_in_and_nothing_else",),
    ),
    Wall(
        "a route that nobody thought of is refused",
        "access/routes.py",
        "    if need is None:\n        raise Refused(",
        "    if need is None:\n        return Need(Right.OPEN, On.SERVER)\n        raise Refused(",
        ("tests/unit/test_inventory.py", "tests/integration/test_matrix.py"),
    ),
    Wall(
        "a method of MLflow's store that is not written out can't write",
        "registry/store.py",
        "def _refuse_unknown_writes() -> Never:\n",
        "def _refuse_unknown_writes() -> Never:\n    return  # type: ignore[misc]\n",
        ("tests/integration/test_store.py::test_a_method_that_mlflow_may_add_can_not_write",),
    ),
    Wall(
        "a closed target moves only through the gate",
        "gates/policy.py",
        "        return target in self.protected_targets()\n",
        "        return False\n",
        (_gate("test_a_closed_target_is_closed_to_models_that_no_rule_covers"),),
    ),
    Wall(
        "pointers are where they were decided to be",
        "registry/store.py",
        "    def _check_moved(self, begun: Mutation, wanted: Pointers) -> None:\n",
        "    def _check_moved(self, begun: Mutation, wanted: Pointers) -> None:\n        return\n",
        ("tests/integration/test_store.py::test_mlflow_moving_more_than_was_decided_changes_nothing",),
    ),
    Wall(
        "the requester doesn't approve",
        "workflow/matter.py",
        '    excluded[requester] = "asked for this promotion"\n',
        "",
        ("tests/integration/test_exclusions.py::test_one_hand_in_it_is_enough",),
    ),
    Wall(
        "who registered the version doesn't approve",
        "workflow/matter.py",
        "    if evidence.registrar:\n",
        "    if not evidence:\n",
        ("tests/integration/test_exclusions.py::test_one_hand_in_it_is_enough",),
    ),
    Wall(
        "who had a hand in the run doesn't approve",
        "workflow/matter.py",
        'dict.fromkeys(evidence.authors, "had',
        'dict.fromkeys((), "had',
        ("tests/integration/test_exclusions.py::test_one_hand_in_it_is_enough",),
    ),
    Wall(
        "who answers for an account that did, or is the same person, doesn't approve",
        "workflow/matter.py",
        "        excluded.setdefault(kin.name, _through(kin, excluded[kin.of]))\n",
        "        pass\n",
        ("tests/integration/test_exclusions.py::test_and_so_is_that_of_an_account_one_answers_for",),
    ),
    Wall(
        "service accounts don't approve",
        "reviews/standing.py",
        "    if reviewer.is_service:\n",
        "    if False:\n",
        ("tests/integration/test_reviews.py::test_others_can_not_approve",),
    ),
    Wall(
        "nobody counts twice",
        "reviews/standing.py",
        "        accounts.setdefault(approver.person, []).append(approver)\n",
        "        accounts.setdefault(approver.name, []).append(approver)\n",
        ("tests/unit/test_judging.py", "tests/integration/test_people.py", "tests/adversarial/test_owners.py"),
    ),
    Wall(
        "standing is looked at again at the promotion",
        "reviews/standing.py",
        "        and why_not(review.reviewer, model, excluded) is None\n",
        "",
        ("tests/adversarial/test_side_doors.py::test_standing_counts_at_the_promotion_not_at_the_approval",),
    ),
    Wall(
        "approvals are about the evidence that was seen",
        "reviews/standing.py",
        "        if review.evidence_digest == digest\n        and not review.dismissed\n",
        "        if True\n",
        (
            "tests/integration/test_reviews.py::test_approvals_are_about_the_evidence_that_was_seen",
            "tests/integration/test_gate_in_full.py",
        ),
    ),
    Wall(
        "evidence is gathered anew at the promotion",
        "workflow/case.py",
        "    if evidence.digest != request.evidence_digest:\n",
        "    if False:\n",
        ("tests/integration/test_reviews.py::test_approvals_are_about_the_evidence_that_was_seen",),
    ),
    Wall(
        "files are those of the run",
        "workflow/matter.py",
        "    if evidence.provenance is not Provenance.FOREIGN:\n",
        "    if True:\n",
        ("tests/adversarial/test_side_doors.py::test_a_good_run_does_not_vouch_for_other_files",),
    ),
    Wall(
        "approved files aren't written to",
        "registry/artifacts.py",
        "            self.lockgate_authorship.refuse_if_sealed(place, and_below=not file)\n",
        "            pass\n",
        ("tests/adversarial/test_files.py",),
    ),
    Wall(
        "a hold keeps a version back",
        "workflow/matter.py",
        "    held_back = [held(hold) for hold in on_hold if hold.binds(matter.target)]\n",
        "    held_back: list[str] = []\n",
        ("tests/integration/test_emergencies.py::test_what_was_rolled_back_is_on_hold_until_somebody_lifts_it",),
    ),
    Wall(
        "a freeze window stops promotions",
        "decisions/verdict.py",
        "(*obstacles, *blocking, *approvals, *frozen)",
        "(*obstacles, *blocking, *approvals)",
        ("tests/integration/test_reviews.py::test_a_freeze_window_stops_promotions_but_no_rollback",),
    ),
    Wall(
        "gates that deny block",
        "decisions/verdict.py",
        "    blocking = [said_of(gate) for gate in gates if gate.denies]\n",
        "    blocking: list[str] = []\n",
        (_gate("test_where_gates_are_all_that_is_asked_ci_moves_in_one_call"), "tests/unit/test_judging.py"),
    ),
    Wall(
        "only those may carry out a promotion who may",
        "workflow/promote.py",
        "    return [*unmet, standing] if standing else unmet\n",
        "    return unmet\n",
        ("tests/integration/test_gate.py", "tests/integration/test_reviews.py"),
    ),
    Wall(
        "requests expire",
        "workflow/case.py",
        "    if request.has_expired(begun.now):\n",
        "    if False:\n",
        ("tests/integration/test_reviews.py::test_requests_expire",),
    ),
    Wall(
        "a request is for its model, not for one recreated under the name",
        "workflow/case.py",
        "    if request.model_id != begun.model.id:\n",
        "    if False:\n",
        ("tests/adversarial/test_side_doors.py::test_an_approval_is_not_for_a_model_recreated_under_the_name",),
    ),
    Wall(
        "no deletion behind what serves",
        "registry/store.py",
        "            self.gate.check_deletion(begun, f\"version {version} of '{name}'\", changes)\n",
        "",
        ("tests/adversarial/test_side_doors.py::test_nothing_behind_a_protected_target_is_deleted",),
    ),
    Wall(
        "aliases that look like a closed one are refused",
        "registry/store.py",
        "                self.gate.check_alias(begun, alias)\n",
        "                pass\n",
        (_gate("test_aliases_that_look_like_a_closed_one_are_refused"),),
    ),
    Wall(
        "a weaker policy waits for approval",
        "workflow/policies.py",
        "        if weaker and not _may_weaken(caller, before):\n",
        "        if False:\n",
        ("tests/integration/test_policy_changes.py::test_a_maintainers_weakening_waits_for_another_one",),
    ),
    Wall(
        "a change that another site makes a browser send is refused",
        "server/edge.py",
        "            if found.by_itself and forgery.is_change(request):\n",
        "            if False:\n",
        ("tests/adversarial/test_identity.py",),
    ),
    Wall(
        "a JWT's algorithm, issuer and audience are those of the identity file",
        "server/authentication.py",
        "        entry = self._identity.issuing(claimed_issuer(token))\n",
        "        entry = next(iter(self._identity.issuers))\n",
        ("tests/adversarial/test_identity.py",),
    ),
    Wall(
        "reads show only what may be seen",
        "registry/visible.py",
        "        return sight_of(current_caller().principal)\n",
        "        current_caller()\n        return None\n",
        ("tests/integration/test_visibility.py",),
    ),
    Wall(
        "deliveries are sent only to where they may go, whoever the name leads to the second time",
        "delivery/sender.py",
        "        if peer is None or not is_open(peer[0], self.allowed, self.host):\n",
        "        if False:\n",
        ("tests/adversarial/test_sending.py::test_a_name_that_leads_elsewhere_the_second_time",),
    ),
    Wall(
        "who claimed a lane before writes nothing of it",
        "database/deliveries.py",
        "    if row is None or row.fence != lane.fence:\n",
        "    if row is None:\n",
        ("tests/integration/test_lanes.py",),
    ),
    Wall(
        "what waits under a model's old name goes before what happens under its new one",
        "delivery/fanout.py",
        "        _follow_rename(session, told[-1].told)\n",
        "",
        ("tests/integration/test_lanes.py",),
    ),
    Wall(
        "nobody's webhooks take all that a process can send",
        "delivery/shares.py",
        "maker for maker, lanes in makers.items() if lanes >= free",
        "maker for maker in ()",
        ("tests/adversarial/test_fair_shares.py",),
    ),
    Wall(
        "only who maintains a webhook's models sees or changes it",
        "workflow/webhooks.py",
        "    if found is None or not maintains(caller, found):\n",
        "    if found is None:\n",
        ("tests/integration/test_webhooks.py::test_only_who_maintains_the_models_sets_up_who_is_told_of_them",),
    ),
    Wall(
        "what is secret of a webhook is not sent to another address",
        "workflow/webhooks.py",
        "        check_stays_secret(before, changes)\n",
        "",
        ("tests/integration/test_webhooks.py::test_what_is_secret_does_not_go_to_another_address",),
    ),
    Wall(
        "a call is shown without having had its secrets",
        "workflow/shown.py",
        "SHOWN if name in secret else value",
        "value",
        ("tests/integration/test_delivery_log.py::test_no_secret_is_in_what_is_shown",),
    ),
)


def main() -> int:
    """Take the walls away; say which of them nobody misses."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", help="only walls with this in their name")
    options.add_argument("--write", action="store_true", help="write the table in docs/walls.md")
    chosen = options.parse_args()
    noticed: dict[Wall, str | None] = {}
    for wall in WALLS:
        if chosen.only in wall.name:
            noticed[wall] = without(wall)
            print(f"{wall.name}: {noticed[wall] or 'NOBODY NOTICED'}", flush=True)
    if chosen.write:
        before = TABLE.read_text().partition(_MARK)[0]
        TABLE.write_text(before + _MARK + "".join(map(_row, noticed.items())))
    return int(None in noticed.values())


def without(wall: Wall) -> str | None:
    """Run the tests on a source without a wall; return the one that failed, if one did."""
    with tempfile.TemporaryDirectory(prefix="lockgate-walls-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        file = source / "lockgate" / wall.file
        text = file.read_text()
        if text.count(wall.stands) != 1:
            raise SystemExit(f"{wall.file} no longer has the wall '{wall.name}' as tests/walls.py knows it.")
        file.write_text(text.replace(wall.stands, wall.falls))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-rfE", "-p", "no:xdist", *wall.tests],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{source}:{ROOT}"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = (line.partition(" ") for line in done.stdout.splitlines())
    failed = [rest.partition(" - ")[0] for first, _, rest in lines if first in ("FAILED", "ERROR")]
    if done.returncode not in (0, 1) or (done.returncode == 1 and not failed):
        raise SystemExit(f"Without '{wall.name}' the tests could not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return failed[0] if failed else None


def _row(found: tuple[Wall, str | None]) -> str:
    wall, test = found
    return f"| {wall.name} | `{wall.file}` | {f'`{test}`' if test else '**nobody**'} |\n"


if __name__ == "__main__":
    sys.exit(main())
