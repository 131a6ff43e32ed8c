"""What a recipe needs is told before it starts, and the command that trains."""

import re

import pytest
import tiny
from typer.testing import CliRunner

from me5.cli import app
from me5.errors import Me5Warning
from me5.training import plan
from me5.training.loop import open_batches, open_entries
from me5.training.recipe import read_recipe
from me5.training.start import start


def test_sizes_are_counted_and_lengths_estimated_then_known(tmp_path) -> None:
    path = tiny.workshop(tmp_path) / "recipe.toml"
    recipe, cache = read_recipe(path), tmp_path / "cache"
    begun = start(recipe.model, recipe.seed)
    first = plan.make_plan(recipe, cache)
    numbers = sum(parameter.numel() for parameter in begun.encoder.parameters())
    assert (first.parameters, first.trained, first.device) == (numbers, numbers, "cpu")
    assert first.memory["weights"] == first.memory["gradients"] == first.memory["moments"] // 2 == 4 * numbers
    assert all(size > 0 for size in first.memory.values())
    assert all(seconds >= 0 for seconds in first.seconds.values())
    assert first.hours == pytest.approx(sum(first.seconds.values()) * 6 / 3600)
    assert first.workload.sampled
    assert not cache.exists()
    entries = open_entries(recipe, begun, cache, advance=lambda texts, tokens: None)
    batches, steps = open_batches(recipe, begun, entries)
    then = plan.make_plan(recipe, cache)
    assert not then.workload.sampled
    assert (then.workload.steps, steps) == (6, 6)
    assert then.workload.tokens == sum(batches.make(step).tokens for step in range(3)) / 3
    assert first.workload.tokens == pytest.approx(then.workload.tokens, rel=0.3)
    assert (then.workload.queries, then.workload.texts, then.workload.cut) == (
        8,
        2 * (len(tiny.QUESTIONS) + len(tiny.LEFT)),
        0,
    )
    short = tiny.write_recipe(tmp_path, "short", ('sources = ["parallel"]', 'sources = ["parallel"]\nquery_tokens = 5'))
    assert plan.make_plan(read_recipe(short), cache).workload.cut == len(tiny.LEFT)


def test_frozen_weights_need_no_gradients(tmp_path) -> None:
    path = tiny.workshop(tmp_path) / "recipe.toml"
    recipe = read_recipe(tiny.write_recipe(path.parent, "lora", ("dropout = 0.1", "dropout = 0\nlora = { rank = 2 }")))
    made = plan.make_plan(recipe, tmp_path / "cache")
    assert made.trained == 2 * (16 + 48 + 16 + 16 + 16 + 24 + 24 + 16)
    assert made.memory["moments"] == 8 * made.trained < made.memory["weights"] / 10


def test_the_command_plans_and_trains(tmp_path, monkeypatch) -> None:
    tiny.workshop(tmp_path)
    path = tiny.write_recipe(tmp_path, "short", ("steps = 6", "steps = 2"))
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["train", str(path), "--plan"], catch_exceptions=False).output
    assert re.search(r"parameters, .* of them trained, on cpu", told)
    for part in ("activations", "moments", "free here", "optimizer", "2 steps of", "are cut"):
        assert part in told
    assert not (tmp_path / "runs").exists()
    told = CliRunner().invoke(app, ["train", str(path)], catch_exceptions=False).output
    assert re.search(r"step 1 of 2  loss \d+\.\d{4}  rate 1\.00e-02  [\d,]+ tokens/s", told)
    assert "step 2 of 2" in told
    assert (tmp_path / "runs" / "tiny" / "model" / "model.safetensors").exists()
    assert list((tmp_path / "runs" / "cache").glob("*/store.json"))
    monkeypatch.setattr(plan, "free_memory", lambda device: 1000)
    with pytest.warns(Me5Warning, match="0.0 GiB are free. Lower batch.tokens"):
        CliRunner().invoke(app, ["train", str(path), "--plan"], catch_exceptions=False)
    assert CliRunner().invoke(app, ["train", str(path), "--quiet"], catch_exceptions=False).output == ""
