"""A plan counts the pairs that a recipe chooses, and says what it is doing; recipes as editors write them."""

import pytest
import tiny
from typer.testing import CliRunner

from me5 import InputError
from me5.cli import app
from me5.training import plan
from me5.training.loop import open_batches, open_entries
from me5.training.recipe import read_recipe
from me5.training.start import start

EPOCHS = ("steps = 6", "epochs = 4.0")


@pytest.mark.parametrize(
    "changes",
    [
        (EPOCHS,),
        (EPOCHS, ('sources = ["parallel"]', 'sources = ["qa"]')),
        (EPOCHS, ('sources = ["parallel"]', 'languages = ["de", "en"]')),
        (EPOCHS, ("negatives = 1", "negatives = 50")),
    ],
)
def test_pairs_that_are_not_chosen_are_not_counted(tmp_path, changes) -> None:
    tiny.workshop(tmp_path)
    recipe = read_recipe(tiny.write_recipe(tmp_path, "some", *changes))
    planned = plan.make_plan(recipe, tmp_path / "cache").workload
    begun = start(recipe.model, recipe.seed)
    entries = open_entries(recipe, begun, tmp_path / "cache", advance=lambda texts, tokens: None)
    batches, steps = open_batches(recipe, begun, entries)
    assert planned.sampled
    assert planned.steps == steps
    made = [batches.make(step).targets.documents for step in range(3)]
    assert planned.documents == pytest.approx(sum(made) / 3, rel=0.35)


def test_a_choice_without_pairs_is_refused_before_anything_is_made(tmp_path) -> None:
    tiny.workshop(tmp_path)
    recipe = read_recipe(tiny.write_recipe(tmp_path, "none", ('sources = ["parallel"]', 'languages = ["sw"]')))
    with pytest.raises(InputError, match="data has no pair that fits sources and languages"):
        plan.make_plan(recipe, tmp_path / "cache")


def test_a_plan_says_what_it_does_and_a_byte_order_mark_harms_no_recipe(tmp_path) -> None:
    tiny.workshop(tmp_path)
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    shown = CliRunner().invoke(app, ["train", str(path), "--plan"], catch_exceptions=False)
    assert shown.stderr.splitlines() == [
        "loading the network", "reading texts of each dataset", "measuring how fast cpu reads and learns",
        "measuring the loss and an update",
    ]  # fmt: skip
    assert CliRunner().invoke(app, ["train", str(path), "--plan", "--quiet"], catch_exceptions=False).stderr == ""
