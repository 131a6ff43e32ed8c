"""The recipes that the repository ships are recipes: every key known, every value possible."""

from pathlib import Path

import pytest

from me5.prompts import task_sentence
from me5.training.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(RECIPES.rglob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(RECIPES)) for path in FILES])
def test_every_recipe_can_be_read(path):
    recipe = read_recipe(path)
    assert recipe.name
    for entry in recipe.data:
        assert entry.dataset.is_relative_to(path.parent)
        for sentence in entry.instructions:
            assert task_sentence(sentence)


def test_published_numbers_are_the_published_ones():
    first, second, instruct = (
        read_recipe(RECIPES / "e5" / f"{name}.toml") for name in ("stage1", "stage2", "instruct")
    )
    assert (first.steps, first.batch.size, first.batch.negatives) == (30_000, 32_768, 0)
    assert sum(entry.weight for entry in first.data) == 980  # million pairs
    assert sum(entry.weight for entry in second.data) == 1596  # thousand pairs
    assert sum(entry.weight for entry in instruct.data) == 1800
    assert (second.loss.distillation, second.loss.contrastive) == (1.0, 0.2)
    for recipe in (second, instruct):
        assert (recipe.epochs, recipe.batch.size) == (2, 512)
    for recipe in (first, second, instruct):
        assert recipe.loss.temperature == 0.01


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(RECIPES)) for path in FILES])
def test_commented_alternatives_can_be_put_in_place(path, tmp_path):
    """`# rate = 3e-4` below `rate = 2e-4` is another size of the model: swap them one by one."""
    lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        key = line.removeprefix("# ").split(" = ")[0]
        if not line.startswith("# ") or not key.isidentifier():
            continue
        kept = [other for other in lines[number + 1 :] if not other.startswith("# ")]
        # Only the table that the line stands in loses its own value.
        table = max((n for n, other in enumerate(lines[:number]) if other.startswith("[")), default=0)
        swapped = lines[:table] + [other for other in lines[table:number] if other.split(" = ")[0] != key]
        (tmp_path / "recipe.toml").write_text("\n".join([*swapped, line.removeprefix("# "), *kept]), encoding="utf-8")
        read_recipe(tmp_path / "recipe.toml")
