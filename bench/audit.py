"""How long it takes to prove an audit log without a server, and what that needs of memory.

    python -m bench.audit [--entries 1000000]

Writes an export of so many entries, as a server does, with a checkpoint of each thousandth, and then runs
`lockgate audit verify --export FILE --checkpoint FILE --key FILE` on it: the real command, from its start to its end.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit import checkpoint
from lockgate.audit.chain import START, Link, line, line_hash
from lockgate.audit.checkpoint import Checkpoint, as_line
from lockgate.audit.entry import AuditEntry
from lockgate.audit.envelope import Signer

_EVERY = 1000


def main() -> None:
    """Measure, and print a line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--entries", type=int, default=1_000_000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name:
        folder = Path(name)
        _write(folder, chosen.entries)
        size = (folder / "export").stat().st_size
        seconds = _verify(folder)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    rate = chosen.entries / seconds
    print(
        f"{chosen.entries:,} entries ({size / 1e6:.0f} MB) verified in {seconds:.1f} s: {rate:,.0f} a second, "
        f"with at most {memory} MB of memory"
    )


def _write(folder: Path, entries: int) -> None:
    """Write an export of entries as promotions leave them, its checkpoints and the key."""
    signer, last, at = Signer(Ed25519PrivateKey.generate()), START, datetime(2026, 1, 1, tzinfo=UTC)
    (folder / "key").write_text(signer.public_key)
    with (folder / "export").open("wb") as export, (folder / "checkpoints").open("w") as checkpoints:
        for number in range(entries):
            at += timedelta(milliseconds=700)
            text = line(entry(number), at, last)
            export.write(text.encode() + b"\n")
            last = Link(last.number + 1, line_hash(text))
            if last.number % _EVERY == 0 or last.number == entries:
                checkpoints.write(as_line(checkpoint.sign(Checkpoint("bench", last, at), signer)) + "\n")


def entry(number: int) -> AuditEntry:
    """Return an entry as a promotion leaves it."""
    return AuditEntry(
        "promotion.done",
        "release-bot",
        7,
        "192.0.2.10",
        model_id="0123456789abcdef0123456789abcdef",
        model=f"payments-fraud-{number % 500}",
        version=number % 90 + 1,
        target="alias:champion",
        request_id=number,
        decision_id=number,
        before={"version": number % 90},
        after={"version": number % 90 + 1},
        reason="the nightly retraining, as planned",
    )


def _verify(folder: Path) -> float:
    files = ("--export", "export", "--checkpoint", "checkpoints", "--key", "key")
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own command
        [str(Path(sys.executable).parent / "lockgate"), "audit", "verify", *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return seconds


if __name__ == "__main__":
    main()
