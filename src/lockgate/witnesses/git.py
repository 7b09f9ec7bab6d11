"""A git repository with a file of checkpoints a day, a commit each. It may be bare; from a clone it is pushed upstream.

Each commit keeps the whole file anew, so it has to stay short.
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lockgate.witnesses.file import lines_of
from lockgate.witnesses.witness import Unreachable

_SUFFIX = ".jsonl"
_TIMEOUT = 60
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Lockgate",
    "GIT_AUTHOR_EMAIL": "lockgate@localhost",
    "GIT_COMMITTER_NAME": "Lockgate",
    "GIT_COMMITTER_EMAIL": "lockgate@localhost",
    # Nobody is there to be asked for a password.
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass(frozen=True)
class Git:
    """A repository on this machine."""

    path: Path

    @property
    def name(self) -> str:
        """Where it is."""
        return f"the git repository {self.path}"

    def recent(self) -> list[str]:
        """Return the lines of the newest day, as the newest commit has them."""
        self._git("rev-parse", "--git-dir")
        names = self._run("ls-tree", "-r", "--name-only", "HEAD").stdout.splitlines()
        newest = max((name for name in names if name.endswith(_SUFFIX)), default=None)
        return lines_of(self._kept(newest)) if newest is not None else []

    def keep(self, line: str, at: str, number: int) -> None:
        """Commit the day's file with a line more, without touching a working tree; push it, if it has an upstream."""
        self._git("rev-parse", "--git-dir")
        name = at.partition("T")[0].replace("-", "/") + _SUFFIX
        content = self._kept(name) + line + "\n"
        head = self._run("rev-parse", "--verify", "--quiet", "HEAD").stdout.strip()
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if head:
                self._git("read-tree", head, environment=index)
            blob = self._git("hash-object", "-w", "--stdin", told=content)
            self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", environment=index)
            tree = self._git("write-tree", environment=index)
        parents = ("-p", head) if head else ()
        commit = self._git("commit-tree", tree, *parents, "-m", f"Checkpoint of entry {number}")
        self._git("update-ref", "HEAD", commit, *((head,) if head else ()))
        if self._run("rev-parse", "--symbolic-full-name", "@{upstream}").returncode == 0:
            self._git("push", "--quiet")

    def _kept(self, name: str) -> str:
        shown = self._run("show", f"HEAD:{name}")
        return shown.stdout if shown.returncode == 0 else ""

    def _git(
        self,
        *arguments: str,
        told: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> str:
        done = self._run(*arguments, told=told, environment=environment)
        if done.returncode != 0:
            raise Unreachable(f"`git {arguments[0]}` failed: {done.stderr.strip()[-200:]}")
        return done.stdout.strip()

    def _run(
        self, *arguments: str, told: str | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - fixed arguments, no shell
                ["git", "-C", str(self.path), *arguments],  # noqa: S607 - the git that is installed
                input=told,
                env={**os.environ, **_AUTHOR, **(environment or {})},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"git could not be run: {type(error).__name__}") from None
