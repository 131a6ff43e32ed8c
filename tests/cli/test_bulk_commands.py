"""`me5 bulk` as a user meets it: what it says and returns."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from me5.cli import main

DEPLOY = Path(__file__).parents[2] / "deploy" / "bulk"
MODEL = ["-p", "f32", "--prompts", "none", "--threads", "1"]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command as the shell does: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("".join(f"text {n}\n" for n in range(30)))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["me5", "bulk", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capsys.readouterr()
        return ended.value.code or 0, output, errors

    return run


def test_a_job_from_its_plan_to_its_end(run, tmp_path, xlmr):
    start = ("t.txt", "--out", "out", "-m", str(xlmr), "--part-texts", "10", *MODEL)
    code, output, errors = run(*start, "--dry-run", "--price-per-hour", "1.5", "--json")
    found = json.loads(output)
    assert (code, errors) == (0, "")
    assert (found["files"], found["parts"], found["texts"]) == (1, 3, 30)
    assert found["cost"] >= 0
    assert not (tmp_path / "out").exists()

    code, output, errors = run(*start, "--plan-only")
    assert (code, output) == (0, "")
    assert errors == f"30 texts in 3 parts → {tmp_path}/out\n"
    code, output, _ = run("status", "out", "--json")
    assert code == 0
    assert {"parts": 3, "parts_done": 0, "texts": 30, "finished": False}.items() <= json.loads(output).items()

    code, _, errors = run("resume", "out", "--shard", "1/2")
    assert code == 0
    assert errors.startswith("10 texts in 1 part, ")
    assert errors.endswith(f" tokens/s, 2 parts left → {tmp_path}/out\n")
    code, output, _ = run("status", "out")
    assert "1 of 3" in output
    assert "not finished" in output

    code, _, errors = run(*start)
    assert code == 0
    assert errors.startswith("20 texts in 2 parts, ")
    code, output, _ = run("status", "out")
    assert code == 0
    assert output.splitlines()[0].split() == ["state", "finished"]
    assert run("resume", "out")[2] == f"0 texts in 0 parts, 0 tokens → {tmp_path}/out\n"
    assert run("clean", "out") == (0, "", "0 files removed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.txt --out o", "none.txt cannot be read: No such file or directory; check the path"),
        ("t.txt --out o --shard 3", "--shard is I/N such as 3/16, got '3'"),
        ("t.txt --out o --shard 2/2", "a shard is I/N with I from 0 to N - 1, got 2/2"),
        ("t.txt --out o --price-per-hour 1", "--price-per-hour belongs to --dry-run; add that, or leave it out"),
        ("t.txt --out t.txt", "t.txt/manifest.json cannot be read: Not a directory"),
        ("resume o", "o holds no bulk job; start one with me5 bulk INPUTS --out"),
        ("status o", "o holds no bulk job"),
        ("t.csv --out o --keep x --field y", "t.csv has no column 'y'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(run, tmp_path, arguments, message):
    (tmp_path / "t.csv").write_text("x\n1\n")
    code, output, errors = run(*arguments.split())
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_part_that_is_given_up_is_told_with_exit_1(run, tmp_path, monkeypatch, xlmr):
    from me5.bulk import part
    from me5.files.place import FileError

    def fail(self, planned):
        raise FileError("t.txt", "cannot be read: Input/output error")

    monkeypatch.setattr(part.Reader, "entries", fail)
    code, _, errors = run("t.txt", "--out", "out", "-m", str(xlmr), *MODEL)
    assert code == 1
    assert errors.endswith("error: part 0 was given up: t.txt cannot be read: Input/output error\n")


def test_what_was_cut_and_what_has_no_vector_is_told_at_the_end(run, tmp_path, xlmr):
    lines = [{"text": "short"}, {"text": 5}, {"text": "one two three four five six"}, {"no": "text"}]
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    start = ("t.jsonl", "-m", str(xlmr), *MODEL, "--max-tokens", "6")
    code, output, errors = run(*start, "--out", "out")
    assert (code, output) == (0, "")
    (lost,) = map(int, re.findall(r"^4 texts in 1 part, \d+ tokens, 1 truncated \((\d+) tokens lost\), ", errors))
    assert errors.splitlines()[1:] == [f"2 rows have no vector: {tmp_path}/out/errors says why"]
    status = json.loads(run("status", "out", "--json")[1])
    assert {"refused": 2, "truncated": 1, "lost": lost}.items() <= status.items()
    told = json.loads(run(*start, "--out", "out2", "--json")[1])
    assert {"texts": 4, "refused": 2, "truncated": 1, "lost": lost, "finished": True}.items() <= told.items()


def test_kept_values_that_became_null_are_told_at_the_end(run, tmp_path, xlmr, monkeypatch):
    monkeypatch.setattr("me5.bulk.job._SAMPLE", 1)
    lines = [{"text": "one", "n": 1}, {"text": "two", "n": "no"}, {"text": "three", "n": "neither"}]
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    start = ("t.jsonl", "-m", str(xlmr), *MODEL, "--keep", "n")
    code, _, errors = run(*start, "--out", "out")
    assert code == 0
    assert errors.splitlines()[1:] == [f"2 values became null: {tmp_path}/out/errors says which"]
    assert json.loads(run("status", "out", "--json")[1])["nulled"] == 2
    assert "2 values, listed in errors/" in run("status", "out")[1]
    assert json.loads(run(*start, "--out", "out2", "--json")[1])["nulled"] == 2


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["t.txt", "--out", "o"], None), (["t.txt", "--out", "o", "--ray"], "auto"),
        (["t.txt", "--ray", "--out", "o"], "auto"), (["t.txt", "--ray", "head:6379", "--out", "o"], "head:6379"),
        (["run", "--ray=local", "t.txt", "--out", "o"], "local"), (["resume", "made", "--ray"], "auto"),
        (["resume", "--ray", "local", "made"], "local"),
    ],
)  # fmt: skip
def test_ray_stands_with_an_address_or_without(run, monkeypatch, xlmr, arguments, address):
    model = [] if "resume" in arguments else ["-m", str(xlmr), *MODEL]
    assert run("t.txt", "--out", "made", "-m", str(xlmr), *MODEL, "--plan-only")[0] == 0
    asked = _asked(monkeypatch)
    assert run(*arguments, *model)[0] == 0
    assert [given["ray"] for given in asked] == [address]


def _asked(monkeypatch):
    """What `work` is asked for, from now on; it does nothing."""
    from me5.bulk import driver

    def note(job, model, **given):
        asked.append(given)
        return driver.Result(job)

    asked = []
    monkeypatch.setattr(driver, "work", note)
    return asked


def _pod(template):
    """The one container of a pod; what it mounts is there."""
    (container,) = template["spec"]["containers"]
    volumes = {volume["name"] for volume in template["spec"].get("volumes", ())}
    assert {mount["name"] for mount in container.get("volumeMounts", ())} == volumes
    assert container["envFrom"] == [{"secretRef": {"name": "me5-store"}}]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    return container


def test_the_kubernetes_job_does_every_part_once(run, tmp_path, xlmr):
    job = yaml.safe_load((DEPLOY / "job.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    container = _pod(job["spec"]["template"])
    assert {name["name"] for name in container["env"]} == {"SHARD", "THREADS"}
    done = []
    for index in range(job["spec"]["completions"]):
        values = {"$(SHARD)": str(index), "$(THREADS)": "1", "s3://bucket/corpus": "t.txt", "s3://bucket/": ""}
        arguments = container["args"][1:]
        for name, value in values.items():
            arguments = [argument.replace(name, value) for argument in arguments]
        options = ["-m", str(xlmr), "-p", "f32", "--prompts", "none", "--part-texts", "3", "--json"]
        code, output, _ = run(*arguments, *options)
        assert code == 0
        done.append(json.loads(output))
    assert [result["parts"] for result in done] == [1] * 10 + [0] * 6
    assert done[-1]["finished"]
    assert (tmp_path / "vectors" / "_SUCCESS").exists()


def test_the_ray_job_asks_for_the_cluster_that_it_describes(run, monkeypatch, xlmr):
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert len({_pod(group["template"])["image"] for group in (cluster["headGroupSpec"], workers)}) == 1
    pins = (DEPLOY.parents[1] / "constraints.txt").read_text("utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
    command, name, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (command, name) == ("me5", "bulk")
    asked = _asked(monkeypatch)
    local = [argument.replace("s3://bucket/corpus", "t.txt").replace("s3://bucket/", "") for argument in arguments]
    assert run(*local, "-m", str(xlmr), *MODEL)[0] == 0
    assert [(given["ray"], given["workers"]) for given in asked] == [("auto", None)]


def test_the_slurm_script_does_every_part_once(run, tmp_path, xlmr):
    script = DEPLOY / "slurm.sh"
    (size,) = re.findall(r"^#SBATCH --array=0-(\d+)$", script.read_text("utf-8"), re.MULTILINE)
    (shards,) = re.findall(r"^shards=(\d+)$", script.read_text("utf-8"), re.MULTILINE)
    assert int(shards) == int(size) + 1
    assert run("t.txt", "--out", "out", "-m", str(xlmr), *MODEL, "--part-texts", "15", "--plan-only")[0] == 0
    for name, command in {"srun": "", "me5": f"{sys.executable} -m me5"}.items():
        (tmp_path / name).write_text(f'#!/bin/bash\nexec {command} "$@"\n')
        (tmp_path / name).chmod(0o755)
    for task in ("0", "1"):
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": task, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run(["bash", script, "out", "--threads", "1", "--quiet"], env=environment, check=True)
    assert (tmp_path / "out" / "_SUCCESS").exists()
