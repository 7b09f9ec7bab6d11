"""Settings of the server: what `lockgate server` was told, and how its worker processes learn it.

Everything travels by environment variables, MLflow's own where it has one. Imports nothing of MLflow, which reads
some of them when it is imported.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

# What MLflow is told in place of a database's or artifact store's URI: our scheme makes it load our plugins, which
# read the real URI from a variable of ours. So no password of a URI gets into MLflow's hands, which shows it in errors.
BACKEND = "lockgate:backend"
REGISTRY = "lockgate:registry"
ARTIFACTS = "lockgate:artifacts"
REAL_URI = {
    BACKEND: "LOCKGATE_BACKEND_STORE_URI",
    REGISTRY: "LOCKGATE_REGISTRY_STORE_URI",
    ARTIFACTS: "LOCKGATE_ARTIFACTS_DESTINATION",
}
DEFAULT_BACKEND = "sqlite:///mlflow.db"


@dataclass(frozen=True)
class ServerSettings:
    """The options of `lockgate server`; the names and meanings are those of `mlflow server`."""

    backend_store_uri: str = DEFAULT_BACKEND
    registry_store_uri: str | None = None
    default_artifact_root: str | None = None
    artifacts_destination: str = "./mlartifacts"
    serve_artifacts: bool = True
    static_prefix: str = ""
    allowed_hosts: str | None = None
    cors_allowed_origins: str | None = None
    x_frame_options: str = "SAMEORIGIN"
    enable_workspaces: bool = False
    public_url: str = ""
    max_body_mb: int = 10

    @property
    def artifact_root(self) -> str:
        """Where new experiments keep their artifacts: MLflow's own rule."""
        if self.default_artifact_root:
            return self.default_artifact_root
        return "mlflow-artifacts:/" if self.serve_artifacts else "./mlruns"

    def environment(self) -> dict[str, str]:
        """Return the environment in which MLflow's application serves under these settings.

        Variables that begin with an underscore are MLflow's private ones (`mlflow.server.constants`); a test keeps
        them in step.
        """
        told = {
            "_MLFLOW_SERVER_FILE_STORE": BACKEND,
            "_MLFLOW_SERVER_REGISTRY_STORE": REGISTRY,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": self.artifact_root,
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": ARTIFACTS,
            REAL_URI[BACKEND]: self.backend_store_uri,
            REAL_URI[REGISTRY]: self.registry_store_uri or self.backend_store_uri,
            REAL_URI[ARTIFACTS]: self.artifacts_destination,
            "_MLFLOW_SGI_NAME": "uvicorn",
            # Jobs and the assistant change the database behind the server's back.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "_MLFLOW_IN_JOB_EXECUTOR": "false",
            "MLFLOW_ENABLE_WORKSPACES": "true" if self.enable_workspaces else "false",
            "MLFLOW_SERVER_X_FRAME_OPTIONS": self.x_frame_options,
            "LOCKGATE_PUBLIC_URL": self.public_url.rstrip("/"),
            "LOCKGATE_MAX_BODY_MB": str(self.max_body_mb),
        }
        if self.enable_workspaces:
            told["MLFLOW_WORKSPACE_STORE_URI"] = self.backend_store_uri
        if self.serve_artifacts:
            told["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
        if self.static_prefix:
            told["_MLFLOW_STATIC_PREFIX"] = self.static_prefix
        if self.allowed_hosts:
            told["MLFLOW_SERVER_ALLOWED_HOSTS"] = self.allowed_hosts
        if self.cors_allowed_origins:
            told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = self.cors_allowed_origins
        return told


def real_location(told: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the real URI of what MLflow knows as `lockgate:backend` and the like, with what follows it."""
    for name, variable in REAL_URI.items():
        if told == name or told.startswith(f"{name}/"):
            return environment[variable] + told.removeprefix(name)
    raise ValueError(f"{told} is none of {', '.join(REAL_URI)}")


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process of the server needs to know beyond what MLflow reads by itself."""

    static_prefix: str
    public_url: str
    max_body_mb: int = 10
    identity_file: str = ""
    #: Proxies whose word on address and scheme is taken, comma-separated.
    behind_proxy: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "WorkerSettings":
        """Read them from the environment."""
        return cls(
            static_prefix=environment.get("_MLFLOW_STATIC_PREFIX", "").rstrip("/"),
            public_url=environment.get("LOCKGATE_PUBLIC_URL", ""),
            max_body_mb=int(environment.get("LOCKGATE_MAX_BODY_MB", "10")),
            identity_file=environment.get("LOCKGATE_IDENTITY", ""),
            behind_proxy=environment.get("LOCKGATE_BEHIND_PROXY", ""),
        )
