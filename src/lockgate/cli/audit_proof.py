"""`lockgate audit verify` and `verify-bundle`: proofs, most of them without a server."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockgate.audit.bundle import check_lines
from lockgate.audit.bundle import read as read_bundle
from lockgate.audit.chain import line_hash
from lockgate.audit.checkpoint import Checkpoint
from lockgate.audit.checkpoint import read as read_checkpoint
from lockgate.audit.envelope import read_public_keys
from lockgate.audit.verify import Report
from lockgate.audit.verify import verify as follow
from lockgate.cli.output import at, command, connect, fail, said, say, show_json
from lockgate.errors import BadInput

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--export", "exported", type=_FILE, help="What `lockgate audit export` printed: no server is asked.")
@click.option(
    "--checkpoint", "checkpoints", type=_FILE, multiple=True, help="Checkpoints to compare it with, one a line."
)
@click.option(
    "--key", "keys", type=_FILE, multiple=True, help="Public key in PEM that checkpoints must be signed with."
)
@click.option(
    "--accept-restore",
    "accepted",
    type=int,
    metavar="ENTRY",
    multiple=True,
    help="Entry that acknowledges a restore which you know of, and think right.",
)
@command
def verify(
    exported: Path | None,
    checkpoints: tuple[Path, ...],
    keys: tuple[Path, ...],
    accepted: tuple[int, ...],
    as_json: bool,
) -> None:
    """Prove that nothing in the log was changed, dropped, reordered or cut off.

    \b
      lockgate audit verify            the server looks through its database
      lockgate audit verify --export FILE --checkpoint FILE --key FILE
                                       without a server, on any machine

    Checkpoints tell a log that was made anew, or cut off, from the one that there was. Keep the public key
    (`lockgate audit key`) apart from them. A restore that the log tells of is a problem until you accept it.
    """
    if exported is None:
        if checkpoints or keys or accepted:
            raise click.UsageError("--checkpoint, --key and --accept-restore go with --export FILE.")
        _verify_at_server(as_json)
        return
    if not checkpoints:
        raise click.UsageError("--export needs --checkpoint FILE: without one, nobody can tell a log that was cut off.")
    trusted = _public_keys(keys)
    signed = [one for path in checkpoints for one in _checkpoints(path, trusted)]
    with exported.open("rb") as lines:
        report = follow(lines, signed, accepted)
    _show(report, accepted, trusted is not None, as_json)


def _show(report: Report, accepted: tuple[int, ...], signatures_verified: bool, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "intact": report.is_intact,
                "entries": report.entries,
                "proven_to": report.proven_to,
                "signatures_verified": signatures_verified,
                "problems": report.problems,
                "notes": report.notes,
                "restores": [{**asdict(one), "accepted": one.entry in accepted} for one in report.restores],
            }
        )
    if not report.is_intact:
        _fail(report.problems, as_json)
    if as_json:
        return
    say(f"Unchanged and complete up to entry {report.proven_to or 0:,}, of {report.entries:,}.")
    for note in report.notes:
        say(note)
    if report.last.number > (report.proven_to or 0):
        say("What comes after is newer than every checkpoint: it holds together, and nothing that is signed proves it.")
    if not signatures_verified:
        say("No signature was verified: give --key FILE, with the key that you trust.")


def _verify_at_server(as_json: bool) -> None:
    server, after, entries, problems = connect(), 0, 0, list[str]()
    while True:
        found: dict[str, Any] = server.call("GET", "/audit/verify", after=after)
        problems += found["problems"]
        entries += found["entries"]
        if found["next_after"] is None:
            break
        after = found["next_after"]
    if as_json:
        show_json({**found, "intact": not problems, "entries": entries, "problems": problems})
    if problems:
        _fail(problems, as_json)
    if as_json:
        return
    say(f"{entries:,} entries, and each follows the one before it.")
    for name in found["agreeing"]:
        say(f"The newest checkpoints of {name} agree.")
    for name in found["unreachable"]:
        say(f"Not compared: {name}.")
    for restore in found["restores"]:
        say(restore)
    if not found["agreeing"]:
        say("No checkpoint outside the database was compared: who can write to it could have made all of it anew.")


def _public_keys(paths: tuple[Path, ...]) -> list[Ed25519PublicKey] | None:
    return [key for path in paths for key in read_public_keys(path.read_bytes())] or None


def _checkpoints(path: Path, keys: list[Ed25519PublicKey] | None) -> list[Checkpoint]:
    """Read the checkpoints in a file, one a line."""
    found = []
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            found.append(read_checkpoint(json.loads(line), keys))
        except ValueError:
            raise BadInput(f"{path}, line {number}: this is no JSON. A file of checkpoints has one a line.") from None
        except BadInput as error:
            raise BadInput(f"{path}, line {number}: {error.message}") from None
    if not found:
        raise BadInput(f"There is no checkpoint in {path}.")
    return found


def _hashes(exported: Path) -> dict[int, str]:
    """Return the hashes of the lines of an export, by the number of their entry."""
    try:
        with exported.open(encoding="utf-8", newline="\n") as lines:
            return {int(json.loads(line)["number"]): line_hash(line.rstrip("\r\n")) for line in lines}
    except (KeyError, TypeError, ValueError):
        raise BadInput(f"{exported} is no export of the audit log. `lockgate audit verify` says more.") from None


def _fail(problems: list[str], as_json: bool) -> NoReturn:
    if as_json:
        sys.exit(1)
    fail(BadInput("\n".join(problems)))


@click.command("verify-bundle")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option(
    "--key", "keys", type=_FILE, multiple=True, required=True, help="Public key in PEM that must have signed it."
)
@click.option("--export", "exported", type=_FILE, help="What `lockgate audit export` printed: it must have the same.")
@command
def verify_bundle(path: Path, keys: tuple[Path, ...], exported: Path | None, as_json: bool) -> None:
    """Verify the bundle of a decision in FILE, without a server, and say what was decided.

    With --export, its entries are looked up there; `lockgate audit verify` proves the export itself.
    """
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput(f"{path} is no JSON.") from None
    stated = read_bundle(signed, _public_keys(keys) or [])
    check_lines(stated, _hashes(exported) if exported is not None else None)
    if as_json:
        show_json(stated)
        return
    decided, asked = stated["predicate"]["decision"], stated["predicate"]["request"]
    what = f"{decided['target']} of {decided['model']}: version {decided['version']}"
    if exported is not None:
        say("The export has all entries of it.")
    say(
        f"The signature is good. Decision {decided['id']} ({decided['kind']}), {at(decided['at'])}, by {decided['by']}:"
    )
    say(f"  {what}. {decided['reason']}".rstrip())
    if asked is not None:
        say(f"  asked for by {asked['requester']} at {at(asked['at'])}")
        _say_reviews(asked["reviews"])
    # Bundles of before have none.
    earlier = stated["predicate"].get("rests_on")
    if earlier is not None:
        say(
            f"  returns to what decision {earlier['decision']} let serve ({earlier['kind']}), {at(earlier['at'])}, by "
            f"{earlier['by']}:"
        )
        _say_reviews(earlier["reviews"])
    for subject in stated["subject"]:
        say(f"  {subject['name']} sha256:{subject['digest']['sha256']}")


def _say_reviews(reviews: list[dict[str, str]]) -> None:
    for one in reviews:
        say(f"  {one['reviewer']} {said(one['verdict'])} at {at(one['at'])}. {one['comment']}".rstrip())
