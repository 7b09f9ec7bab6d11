"""Programs of Debian's packages, unpacked into a folder and run from there: nothing is installed on the machine."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


def unpack(packages: Sequence[str], into: Path) -> None:
    """Fetch packages, and what they need that isn't on the machine, and unpack them.

    Raises:
        OSError: if there is no apt-get here.
        subprocess.CalledProcessError: if they can't be had.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lockgate-apt-") as made:
        folder = Path(made)
        for name in ("archives/partial", "lists/partial"):
            (folder / name).mkdir(parents=True)
        # In folders of its own apt-get needs no root.
        places = {"State::lists": "lists", "Cache": ".", "Cache::archives": "archives"}
        apt = ["apt-get", "-qq", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]
        apt += [part for name, place in places.items() for part in ("-o", f"Dir::{name}={folder / place}")]
        # Only what isn't on the machine, libraries included.
        fetch = ["install", "-y", "--no-install-recommends", "--download-only", *packages]
        for command in (["update"], fetch):
            subprocess.run(
                [*apt, *command],
                check=True, timeout=300, stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": made},
            )  # fmt: skip
        for package in (folder / "archives").glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, into], check=True, timeout=60)


def environment(folder: Path) -> dict[str, str]:
    """Return this process's environment, with the libraries that were unpacked into a folder."""
    libraries = sorted({str(file.parent) for file in (folder / "usr/lib").glob("*/*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
