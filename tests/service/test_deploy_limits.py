"""deploy/: limits and memory fit each other, the image can do what the service can, placeholders are told."""

import re
from pathlib import Path

import pytest
import yaml

from me5.service.settings import OPTIONS, ServiceSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOLD = (ROOT / "docs" / "service.md").read_text("utf-8")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
# Measured: bytes of memory for each byte of one text as long as a body may be. Three are tokenized at a time.
BYTES_PER_BYTE, AT_A_TIME, IDLE = 90, 3, 256 * 2**20


def test_the_memory_of_the_manifest_fits_its_limits():
    data = yaml.safe_load((DEPLOY / "kubernetes/configmap.yaml").read_text("utf-8"))["data"]
    numbers = {option.name: int(data[option.variable]) for option in OPTIONS if data.get(option.variable, "").isdigit()}
    settings = ServiceSettings(**numbers)
    container = yaml.safe_load((DEPLOY / "kubernetes/deployment.yaml").read_text("utf-8"))
    resources = container["spec"]["template"]["spec"]["containers"][0]["resources"]
    memory = int(resources["limits"]["memory"].removesuffix("Gi")) * 2**30
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    needed = IDLE + settings.max_receiving_bytes + AT_A_TIME * BYTES_PER_BYTE * settings.max_body_bytes
    assert needed < memory


def test_the_image_can_search_and_there_is_one_for_gpus():
    extras = re.findall(r"\.\[([\w,]+)\]", DOCKERFILE)
    assert all({"serve", "search", "otel"} <= set(names.split(",")) for names in extras)
    assert any("gpu" in names.split(",") for names in extras)
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert "gpu" in stages
    assert stages[-1] == "cpu", "what is built without a target"
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-2:]:
        assert re.search(r"^USER \d+:\d+$", stage, re.MULTILINE)


def test_the_gpu_variant_of_compose_builds_that_stage():
    service = yaml.safe_load((DEPLOY / "docker-compose.gpu.yml").read_text("utf-8"))["services"]["me5"]
    assert service["build"]["target"] == "gpu"


@pytest.mark.parametrize("path", sorted(path for path in DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_placeholders_are_told(path):
    for placeholder in re.findall(r"[\w.-]+\.example\.\w+(?:/[\w-]+)?|0{64}", path.read_text("utf-8")):
        told = placeholder if "example" in placeholder else "0000…"
        assert told in TOLD, f"docs/service.md does not say what to put in place of {placeholder}"
        assert path.name in TOLD
