"""The webhook handler of "MLflow Model Registry in Production", as it stands."""

from fastapi import FastAPI, Request, HTTPException, Header
import os

app = FastAPI()


@app.post("/api/webhooks/mlflow-staging")
async def handle_staging_transition(
    request: Request,
    authorization: str = Header(None),
):
    """Handle MLflow webhook when a model transitions to Staging."""
    expected = f"Bearer {os.environ['CI_WEBHOOK_TOKEN']}"
    if authorization != expected:
        raise HTTPException(status_code=401, detail="Unauthorized")

    payload = await request.json()
    model_name = payload["model_name"]
    version = payload["model_version"]["version"]

    print(f"Staging transition: {model_name} v{version}")
    trigger_staging_validation(model_name, version)

    return {"status": "accepted"}


def trigger_staging_validation(model_name: str, version: str) -> None:
    """Trigger a GitLab CI pipeline to validate the staged model."""
    import requests

    requests.post(
        f"{os.environ['GITLAB_URL']}/api/v4/projects/{os.environ['GITLAB_PROJECT_ID']}/trigger/pipeline",
        data={
            "token": os.environ["GITLAB_TOKEN"],
            "ref": "main",
            "variables[MODEL_NAME]": model_name,
            "variables[MODEL_VERSION]": version,
            "variables[PIPELINE_TYPE]": "staging-validation",
        },
    )
