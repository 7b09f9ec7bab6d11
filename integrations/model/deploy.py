"""Fetch the version that the registry says, and put it where it is served from.

In place of a cluster: a folder, and a file that says which version it has. What serves reads that file, so the registry
being down means that nothing new is deployed, never that predictions fail.
"""

import json
import os
from pathlib import Path

import mlflow


def main() -> None:
    """Fetch, then switch over."""
    served = Path(os.environ.get("SERVED", "served"))
    version = {name: os.environ[f"DEPLOY_{name.upper()}"] for name in ("name", "version", "digest")}
    folder = served / version["version"]
    mlflow.artifacts.download_artifacts(os.environ["DEPLOY_URI"], dst_path=str(folder))
    written = served / "version.json.new"
    written.write_text(json.dumps({**version, "folder": str(folder)}))
    written.replace(served / "version.json")
    print(f"{version['name']} version {version['version']} is served")


if __name__ == "__main__":
    main()
