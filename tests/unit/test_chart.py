"""The Helm chart, rendered by Helm and read as Kubernetes' schemas say."""

import functools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from lockgate.cli.serve import server
from lockgate.server.main import FINISH_WITHIN
from tests.deploy import HELM, KUBERNETES

CHART = Path(__file__).parents[2] / "deploy/helm/lockgate"
Values = dict[str, Any]

LEAST: Values = {
    "database": {"secret": "database"},
    "server": {
        "publicUrl": "https://models.example.com",
        "behindProxy": "10.244.0.0/16",
        "artifactsDestination": "s3://models/artifacts",
    },
}
ALL: Values = {
    "image": {"repository": "team/lockgate", "tag": "1.2.3", "pullSecrets": ["pull"]},
    "replicas": 3,
    "database": {"secret": "database", "key": "address"},
    "adminToken": {"secret": "admin"},
    "secretKey": {"secret": "signing"},
    "s3": {"secret": "keys", "endpointUrl": "http://store:8333", "region": "eu-central-1"},
    "server": {
        **LEAST["server"],
        "allowedHosts": ["models.internal"],
        "serveArtifacts": False,
        "checkpointTo": ["s3://checkpoints/mlflow", "https://witness.example.com/log"],
        "staticPrefix": "/mlflow",
        "environment": {"MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY"},
        "envFrom": [{"secretRef": {"name": "provider"}}],
    },
    "policy": 'version: 1\nrules: []  # "quoted" {{ not a template }}\n',
    "identity": "version: 1\n",
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "models.example.com",
        "tlsSecret": "tls",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "0"},
    },
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
    "serviceAccountName": "lockgate",
    "podAnnotations": {"team": "ml"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "ml", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}


def helm(*arguments: str, values: Values) -> subprocess.CompletedProcess[str]:
    assert HELM.exists(), "There is no Helm. Run `python -m tests.deploy`."
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        return subprocess.run(
            [str(HELM), *arguments, str(CHART), "--values", file.name],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@functools.cache
def rendered(which: str) -> dict[str, Any]:
    """What a release called `prod` is, by kind."""
    told = helm("template", "prod", values={"least": LEAST, "all": ALL}[which])
    assert told.returncode == 0, told.stderr
    return {document["kind"]: document for document in yaml.safe_load_all(told.stdout) if document}


@functools.cache
def schemas() -> dict[str, Any]:
    definitions: dict[str, Any] = json.loads(KUBERNETES.read_text())["$defs"]
    return definitions


def faults(document: dict[str, Any]) -> list[str]:
    group, _, version = document["apiVersion"].rpartition("/")
    known = {"group": group, "version": version, "kind": document["kind"]}
    [schema] = [one for one in schemas().values() if known in one.get("x-kubernetes-group-version-kind", [])]
    validator = Draft202012Validator({**schema, "$defs": schemas()})
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(document)]


def container(which: str) -> dict[str, Any]:
    [only] = rendered(which)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_helm_finds_nothing_to_say(values: Values) -> None:
    told = helm("lint", "--strict", values=values)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("which", ["least", "all"])
def test_kubernetes_would_take_it(which: str) -> None:
    for document in rendered(which).values():
        assert faults(document) == []


def test_what_kubernetes_would_not_take_is_found() -> None:
    budget = rendered("least")["PodDisruptionBudget"]
    assert faults({**budget, "spec": {**budget["spec"], "maxUnavailble": 1}})


def test_what_is_rendered() -> None:
    always = {"Deployment", "Service", "PodDisruptionBudget"}
    assert rendered("least").keys() == always
    assert rendered("all").keys() == always | {"ConfigMap", "Ingress", "NetworkPolicy"}


@pytest.mark.parametrize("which", ["least", "all"])
def test_the_command_is_the_servers(which: str) -> None:
    name, command, *options = container(which)["args"]
    assert (name, command) == ("lockgate", "server")
    # The files are not here, but in the pod.
    options = [option for option in options if not option.startswith(("--policy=", "--identity="))]
    told = server.make_context("server", options).params
    assert told["behind_proxy"] == "10.244.0.0/16"
    assert told["serve_artifacts"] is (which == "least")
    assert told["allowed_hosts"].split(",")[0] == "localhost"
    known = {parameter.envvar for parameter in server.params}
    variables = {variable["name"] for variable in container(which)["env"]}
    assert variables - known <= {
        "LOCKGATE_ADMIN_TOKEN", "LOCKGATE_SECRET_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "MLFLOW_S3_ENDPOINT_URL",
    }  # fmt: skip


def test_files_reach_the_server_as_they_are() -> None:
    assert rendered("all")["ConfigMap"]["data"] == {"policy.yaml": ALL["policy"], "identity.yaml": ALL["identity"]}
    [mounted] = [mount for mount in container("all")["volumeMounts"] if mount["name"] == "files"]
    assert f"--policy={mounted['mountPath']}/policy.yaml" in container("all")["args"]
    assert f"--identity={mounted['mountPath']}/identity.yaml" in container("all")["args"]


def test_a_pod_has_few_rights_and_is_looked_after() -> None:
    pod = rendered("least")["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container("least")["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    paths = {
        probe: container("least")[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    [_, leave_taking] = container("least")["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] >= int(leave_taking) + FINISH_WITHIN


@pytest.mark.parametrize(("seconds", "tries"), [(300, 150), (901, 451)])
def test_a_pod_may_take_so_long_to_start(seconds: int, tries: int) -> None:
    told = helm("template", "prod", values={**LEAST, "server": {**LEAST["server"], "startupSeconds": seconds}})
    [deployment] = [one for one in yaml.safe_load_all(told.stdout) if one and one["kind"] == "Deployment"]
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    assert (only["startupProbe"]["failureThreshold"], only["startupProbe"]["periodSeconds"]) == (tries, 2)


def test_who_selects_whom() -> None:
    labels = rendered("all")["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        rendered("all")["Service"]["spec"]["selector"],
        rendered("all")["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        rendered("all")["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        rendered("all")["Deployment"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    assert "app.kubernetes.io/version" not in rendered("all")["Service"]["spec"]["selector"]


def test_no_secret_is_made() -> None:
    assert "Secret" not in rendered("all")
    secret = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container("all")["env"] if "valueFrom" in v}
    assert secret == {
        "MLFLOW_BACKEND_STORE_URI": {"name": "database", "key": "address"},
        "LOCKGATE_ADMIN_TOKEN": {"name": "admin", "key": "token"},
        "LOCKGATE_SECRET_KEY": {"name": "signing", "key": "secret-key"},
        "AWS_ACCESS_KEY_ID": {"name": "keys", "key": "AWS_ACCESS_KEY_ID"},
        "AWS_SECRET_ACCESS_KEY": {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"},
    }


@pytest.mark.parametrize(
    ("part", "value", "named"),
    [
        ("database", {"secret": ""}, "/database/secret"),
        ("server", {**LEAST["server"], "behindProxy": ""}, "/server/behindProxy"),
        ("server", {**LEAST["server"], "publicUrl": "http://models.example.com"}, "/server/publicUrl"),
        ("server", {**LEAST["server"], "artifactsDestination": "./mlartifacts"}, "/server/artifactsDestination"),
        ("server", {**LEAST["server"], "worker": 4}, "worker"),
        ("ingress", {"enabled": True, "host": "models.example.com"}, "/ingress/tlsSecret"),
        ("networkPolicy", {"enabled": True}, "/networkPolicy/from"),
        ("replica", 3, "replica"),
    ],
)
def test_values_that_would_not_do_are_refused(part: str, value: Any, named: str) -> None:
    told = helm("template", "prod", values={**LEAST, part: value})
    assert told.returncode != 0
    assert named in told.stderr


def test_every_value_is_in_the_schema_and_has_a_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert defaults.keys() | {"global"} == schema["properties"].keys()
    for name, part in schema["properties"].items():
        if part.get("properties"):
            assert part["properties"].keys() == defaults[name].keys(), name
