"""deploy/: what its files name exists. ServiceSettings, probe paths, metrics, mounted files and selectors all agree."""

import contextlib
import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from me5.service.settings import OPTIONS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "me5.json"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
# Labels and a metric that Prometheus adds itself.
SCRAPED = {"instance", "job", "le"}
UP = "up"


def load(name):
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def manifest(name):
    return load(f"kubernetes/{name}.yaml")


@pytest.fixture(scope="module")
def labels(server):
    """Every series that the running service exposes after some traffic, with the names of its labels."""
    for body in ('{"input": "a", "side": "query"}', '{"input": ["a", "b"]}', "{"):
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{server.url}/v1/embeddings", body.encode(), headers)
        with contextlib.suppress(urllib.error.HTTPError):  # the last is refused
            urllib.request.urlopen(request).close()
    with urllib.request.urlopen(f"{server.url}/metrics") as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples}


def expressions():
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    for panel in panels:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for group in load("prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_graphs_and_alerts_use_what_metrics_exposes(where, expression, labels):
    bare = re.sub(r"\[[^\]]*\]|\"[^\"]*\"", "", expression)
    named = set(re.findall(r"\b(?:me5|te|process)_\w+|\bup\b", bare))
    assert named
    assert named - {UP} <= set(labels), f"{where}: no such metric"
    known = SCRAPED.union(*(labels[name] for name in named - {UP}))
    used = set(re.findall(r"(\w+)\s*[!=]~?=?\s*(?=[,}])", bare))
    for group in re.findall(r"by \(([^)]*)\)", bare):
        used |= {label.strip() for label in group.split(",")}
    assert used <= known, f"{where}: no such label"


def test_labels_in_expressions_are_found_by_the_test_above():
    found = [expression for _, expression in expressions() if 'side="query"' in expression]
    assert found
    bare = re.sub(r"\[[^\]]*\]|\"[^\"]*\"", "", found[0])
    assert "side" in re.findall(r"(\w+)\s*[!=]~?=?\s*(?=[,}])", bare)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(DEPLOY)) for path in FILES])
def test_settings_named_in_a_file_exist(path):
    named = set(re.findall(r"\bME5_[A-Z][A-Z0-9_]*\b", path.read_text("utf-8")))
    assert named <= {option.variable for option in OPTIONS}


def probes():
    container = manifest("deployment")["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield container[probe]["httpGet"]["path"]
    yield manifest("service")["metadata"]["annotations"]["prometheus.io/path"]
    yield load("prometheus/prometheus.yml")["scrape_configs"][0]["metrics_path"]


@pytest.mark.parametrize("path", sorted(set(probes())))
def test_probed_paths_answer(path, server):
    with urllib.request.urlopen(server.url + path) as reply:
        assert reply.status == 200


def instructions(keyword):
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return re.findall(rf"^(?:[A-Z]+ --[^\n]*? )?\s*{keyword} (.+)$", text, re.MULTILINE)


def test_the_images_health_check_tells_a_living_from_a_dead_service(server):
    (check,) = re.findall(r"CMD (\[.*\])", instructions("HEALTHCHECK")[0])
    _, *arguments = json.loads(check)
    for port, healthy in ((server.url.rpartition(":")[2], True), ("1", False)):
        done = subprocess.run([sys.executable, *arguments], env={"ME5_PORT": port}, capture_output=True)
        assert (done.returncode == 0) == healthy, done.stderr


def test_the_image_does_not_run_as_root_and_copies_what_exists():
    user = instructions("USER")[-1].partition(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    pod = manifest("deployment")["spec"]["template"]["spec"]["securityContext"]
    assert str(pod["runAsUser"]) == user
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8")
    for copied in instructions("COPY"):
        if not copied.startswith("--from"):
            for source in copied.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}\n" in ignored, f"{source} would not reach the build"
    for form in ("ENTRYPOINT", "CMD"):
        assert isinstance(json.loads(instructions(form)[-1]), list)


def test_the_image_installs_extras_that_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (wanted,) = re.findall(r"'\.\[([\w,]+)\]'", (DEPLOY / "Dockerfile").read_text("utf-8"))
    assert set(wanted.split(",")) <= set(extras)


def test_compose_mounts_what_exists_and_listens_on_loopback_only():
    services = load("docker-compose.yml")["services"]
    for service in services.values():
        for mount in service.get("volumes", ()):
            if mount.startswith("."):
                assert (DEPLOY / mount.partition(":")[0]).exists(), mount
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (DEPLOY / services["me5"]["build"]["context"] / services["me5"]["build"]["dockerfile"]).exists()


def test_grafana_finds_its_dashboard_and_its_data():
    mounts = dict(mount.split(":")[:2] for mount in load("docker-compose.yml")["services"]["grafana"]["volumes"])
    provider = load("grafana/provisioning/dashboards/me5.yml")["providers"][0]
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    source = load("grafana/provisioning/datasources/prometheus.yml")["datasources"][0]["uid"]
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    used = {target["datasource"]["uid"] for panel in dashboard["panels"] for target in panel.get("targets", ())}
    assert used == {source}
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(identities) == len(set(identities))


def test_kubernetes_manifests_refer_to_each_other():
    names = load("kubernetes/kustomization.yaml")["resources"]
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()} - {"kustomization.yaml", "secret.example.yaml"}
    assert set(names) == files
    deployment = manifest("deployment")
    pod = deployment["spec"]["template"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        manifest("service")["spec"]["selector"],
        manifest("pdb")["spec"]["selector"]["matchLabels"],
        manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= pod["metadata"]["labels"].items()
    assert manifest("hpa")["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    container = pod["spec"]["containers"][0]
    assert container["envFrom"][0]["configMapRef"]["name"] == manifest("configmap")["metadata"]["name"]
    assert manifest("service")["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert manifest("secret.example")["metadata"]["name"] in {
        volume.get("secret", {}).get("secretName") for volume in pod["spec"]["volumes"]
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}


def test_every_way_to_run_waits_longer_for_the_end_than_the_service_does():
    drain = next(option.default for option in OPTIONS if option.name == "drain")
    pod = manifest("deployment")["spec"]["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > drain + sleep
    assert int(load("docker-compose.yml")["services"]["me5"]["stop_grace_period"].rstrip("s")) > drain
    (unit,) = re.findall(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd/me5.service").read_text("utf-8"), re.MULTILINE)
    assert int(unit) > drain
