"""The snippets of "MLflow Model Registry in Production", as they stand but for names and addresses."""

import os
import threading
from datetime import datetime

import mlflow
import mlflow.pyfunc
import mlflow.sklearn
from mlflow.tracking import MlflowClient
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score


def train_and_register(X_train, y_train, X_val, y_val, config: dict):
    """Train a model and register it in MLflow."""

    with mlflow.start_run(run_name=f"fraud-detector-{config['n_estimators']}trees") as run:
        # Log parameters
        mlflow.log_params(config)

        # Log environment info
        mlflow.set_tags(
            {
                "team": "fraud-detection",
                "use_case": "transaction-fraud",
                "data_version": "v2024-01-15",
                "feature_pipeline": "fp-v3.2.1",
                "git_commit": os.environ.get("GIT_COMMIT_SHA", "unknown"),
            }
        )

        # Train
        model = RandomForestClassifier(**config, random_state=42)
        model.fit(X_train, y_train)

        # Evaluate
        val_probs = model.predict_proba(X_val)[:, 1]
        metrics = {
            "val_auc": roc_auc_score(y_val, val_probs),
            "val_f1": f1_score(y_val, (val_probs > 0.5).astype(int)),
            "val_ap": average_precision_score(y_val, val_probs),
            "val_size": len(y_val),
        }
        mlflow.log_metrics(metrics)

        # Log and register in one call
        mlflow.sklearn.log_model(
            model,
            artifact_path="model",
            registered_model_name="fraud-detector",  # This registers it
            input_example=X_val[:5],  # Documents input schema
        )

        print(f"Run ID: {run.info.run_id}")
        print(f"Metrics: {metrics}")
        return run.info.run_id


def register_if_good(run_id: str, model_name: str, min_auc: float = 0.80) -> str | None:
    """Register a model only if it meets performance requirements."""
    client = MlflowClient()
    run = client.get_run(run_id)
    auc = run.data.metrics.get("val_auc", 0)

    if auc < min_auc:
        print(f"Model rejected: AUC {auc:.3f} < threshold {min_auc}")
        return None

    model_uri = f"runs:/{run_id}/model"
    mv = mlflow.register_model(model_uri, model_name)

    # Add description
    client.update_model_version(
        name=model_name,
        version=mv.version,
        description=f"Trained on data v2024-01-15. Val AUC: {auc:.4f}. Run: {run_id}. Approved for staging review.",
    )

    print(f"Registered: {model_name} version {mv.version}")
    return mv.version


def promote_to_staging(model_name: str, version: str, reviewer: str) -> None:
    """Promote a model from None to Staging with reviewer annotation."""
    client = MlflowClient()
    client.transition_model_version_stage(
        name=model_name,
        version=version,
        stage="Staging",
        archive_existing_versions=False,
    )

    client.set_model_version_tag(
        name=model_name,
        version=version,
        key="staging_reviewer",
        value=reviewer,
    )

    client.set_model_version_tag(
        name=model_name,
        version=version,
        key="staging_timestamp",
        value=datetime.utcnow().isoformat(),
    )

    print(f"Promoted {model_name} v{version} to Staging")


def promote_to_production(model_name: str, version: str, approver: str) -> None:
    """Promote a model to Production, archiving the previous production version."""
    client = MlflowClient()
    # Promote new version - archive_existing_versions=True handles the archival
    client.transition_model_version_stage(
        name=model_name,
        version=version,
        stage="Production",
        archive_existing_versions=True,  # Auto-archive current production
    )

    client.set_model_version_tag(
        name=model_name,
        version=version,
        key="production_approver",
        value=approver,
    )
    client.set_model_version_tag(
        name=model_name,
        version=version,
        key="production_timestamp",
        value=datetime.utcnow().isoformat(),
    )

    print(f"Promoted {model_name} v{version} to Production")


def emergency_rollback(model_name: str, approver: str) -> None:
    """Roll back to the most recently archived version."""
    client = MlflowClient()
    archived = client.get_latest_versions(model_name, stages=["Archived"])
    if not archived:
        raise ValueError(f"No archived versions of {model_name} to roll back to")

    # Sort by version number, get most recent
    latest_archived = sorted(archived, key=lambda v: int(v.version))[-1]

    print(f"Rolling back to {model_name} v{latest_archived.version}")
    promote_to_production(model_name, latest_archived.version, f"ROLLBACK:{approver}")


def get_registry_report(model_name: str) -> dict:
    """Generate a full report on a model's registry history."""
    client = MlflowClient()

    # Get all versions
    all_versions = client.search_model_versions(f"name='{model_name}'")

    report = {
        "model": model_name,
        "total_versions": len(all_versions),
        "by_stage": {},
        "versions": [],
    }

    for v in sorted(all_versions, key=lambda x: int(x.version)):
        run = client.get_run(v.run_id)
        entry = {
            "version": v.version,
            "stage": v.current_stage,
            "created": v.creation_timestamp,
            "run_id": v.run_id,
            "metrics": run.data.metrics,
            "tags": dict(v.tags),
            "description": v.description,
        }
        report["versions"].append(entry)

        stage = v.current_stage
        report["by_stage"][stage] = report["by_stage"].get(stage, 0) + 1

    return report


def find_models_by_data_version(data_version: str) -> list:
    """Find all models trained on a specific data version - critical for data lineage."""
    client = MlflowClient()
    all_models = client.search_registered_models()
    affected = []

    for model in all_models:
        versions = client.search_model_versions(f"name='{model.name}'")
        for v in versions:
            run = client.get_run(v.run_id)
            if run.data.tags.get("data_version") == data_version:
                affected.append(
                    {
                        "model": model.name,
                        "version": v.version,
                        "stage": v.current_stage,
                    }
                )

    return affected


class RegistryAwareModelCache:
    """Thread-safe model cache that loads from the MLflow Registry."""

    def __init__(self, model_name: str, stage: str = "Production"):
        self.model_name = model_name
        self.stage = stage
        self._model = None
        self._version = None
        self._lock = threading.Lock()

    def _load_current(self):
        client = MlflowClient()
        versions = client.get_latest_versions(self.model_name, stages=[self.stage])
        if not versions:
            raise RuntimeError(f"No {self.stage} model for {self.model_name}")
        version = versions[0]
        model_uri = f"models:/{self.model_name}/{self.stage}"
        model = mlflow.pyfunc.load_model(model_uri)
        return model, version.version

    def get_model(self):
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model, self._version = self._load_current()
        return self._model

    def reload(self):
        """Force reload - call when registry signals a new production version."""
        with self._lock:
            self._model, self._version = self._load_current()
            print(f"Reloaded {self.model_name} v{self._version}")
