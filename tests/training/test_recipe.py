"""A recipe says what it means, and a slip in it is told with the way out."""

import re

import pytest
import tiny

from me5.errors import InputError
from me5.training.recipe import read_recipe


def test_values_defaults_and_paths_beside_the_recipe(tmp_path) -> None:
    (tmp_path / "start").mkdir()
    text = tiny.RECIPE.replace('start = "random"', 'start = "start"').replace('tokenizer = "tokenizer"\n', "")
    text = re.sub(r"shape = .*\n", "", text)
    path = tmp_path / "recipe.toml"
    path.write_text(text + '\n[teacher]\nmodel = "owner/name"\n', "utf-8")
    with pytest.raises(InputError, match=r"a teacher's vectors take the place of documents: batch\.negatives"):
        read_recipe(path)
    path.write_text(text, "utf-8")
    recipe = read_recipe(path)
    assert recipe.model.start == str(tmp_path / "start")
    assert recipe.data[0].dataset == tmp_path / "data"
    assert (recipe.loss.temperature, recipe.loss.directions, recipe.optimizer.betas) == (0.05, "query", (0.9, 0.999))
    assert recipe.model.prompts is None
    assert recipe.data[1].symmetric


WRONG = [
    ("seed = 3", "sead = 3", "unknown key sead; did you mean seed?"),
    ("warmup = 2", "warmpu = 2", "unknown key optimizer.warmpu; did you mean warmup?"),
    ("layers = 1", "layer = 1", "unknown key model.shape.layer; did you mean layers?"),
    ("symmetric = true", "symetric = true", "unknown key data.1.symetric; did you mean symmetric?"),
    ("temperature = 0.05", "zzz = 1", "unknown key loss.zzz; expected one of kind, temperature, directions"),
    ("rate = 1e-2\n", "", "optimizer.rate is missing"),
    ("rate = 1e-2", "rate = 0", "optimizer.rate: Input should be greater than 0, got 0"),
    ("rate = 1e-2", 'rate = "fast"', "optimizer.rate: Input should be a valid number, got 'fast'"),
    ("steps = 6", 'steps = "6"', "steps: Input should be a valid integer, got '6'"),
    ("steps = 6", "steps = true", "steps: Input should be a valid integer, got True"),
    ("steps = 6", "steps = 6\nepochs = 1", "expected either steps or epochs"),
    ("steps = 6\n", "", "expected either steps or epochs"),
    ("seed = 3", "seed = -1", "seed: Input should be greater than or equal to 0, got -1"),
    ('precision = "f32"', 'precision = "f16"', "precision: Input should be 'auto', 'bf16' or 'f32', got 'f16'"),
    ('name = "tiny"', 'name = "a/b"', "name: String should match pattern"),
    ("parts = 2", "parts = 3", "batch: size 8 cannot be divided into 3 parts"),
    ("heads = 2", "heads = 3", "model.shape: hidden 16 cannot be divided among 3 heads"),
    ('tokenizer = "tokenizer"', "", 'model: start = "random" needs a shape and a tokenizer'),
    ('start = "random"', 'start = "me5-small"', "model: shape and tokenizer belong to a checkpoint"),
    ('start = "random"', 'start = "random"\nfreeze_words = true', "model: freeze_words would keep random words"),
    ("temperature = 0.05", "contrastive = 0", "loss: contrastive and distillation are both 0"),
    ("prompted = 0.5", "prompted = 1.5", "data.1.prompted: Input should be less than or equal to 1, got 1.5"),
    ('sources = ["qa"]', 'sources = "qa"', "data.0.sources: expected a list, got 'qa'"),
    ("seed = 3", "seed = = 3", "is not TOML"),
]


@pytest.mark.parametrize(("old", "new", "told"), WRONG, ids=[wrong[2][:40] for wrong in WRONG])
def test_a_slip_is_named_with_the_way_out(tmp_path, old: str, new: str, told: str) -> None:
    path = tiny.write_recipe(tmp_path, "wrong", (old, new))
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_one_table_is_no_list_and_only_what_is_wrong_is_told(tmp_path) -> None:
    path = tmp_path / "recipe.toml"
    top = 'name = "a"\nsteps = 1\n[model]\nstart = "me5-small"\n[optimizer]\nrate = 1e-5\n'
    path.write_text(top + '[data]\ndataset = "pairs"\n', "utf-8")
    with pytest.raises(InputError) as told:
        read_recipe(path)
    assert str(told.value) == f"{path}: data: expected a list of tables; write [[data]]"
    path.write_text(top + '[[data]]\ndataset = "pairs"\nweight = nan\n', "utf-8")
    with pytest.raises(InputError) as told:
        read_recipe(path)
    assert str(told.value) == f"{path}: data.0.weight: Input should be a finite number, got nan"


def test_every_slip_is_told_at_once(tmp_path) -> None:
    path = tiny.write_recipe(tmp_path, "wrong", ("seed = 3", "sead = 3"), ("warmup = 2", "warmup = -2"))
    with pytest.raises(InputError, match=r"optimizer\.warmup: .*; unknown key sead"):
        read_recipe(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(InputError, match="every entry of data has the weight 0"):
        read_recipe(tiny.write_recipe(tmp_path, "none", ("sources", "weight = 0\nsources")))
