"""docs/training.md lists every key of a recipe, with its default."""

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from me5.training import recipe

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "The top": recipe.Recipe, "`[model]`": recipe.Network, "`[model.shape]`": recipe.Shape,
    "`[model.lora]`": recipe.Lora, "`[[data]]`": recipe.Data,
    "`[batch]`": recipe.BatchSettings, "`[loss]`": recipe.LossSettings, "`[teacher]`": recipe.TeacherSettings,
    "`[optimizer]`": recipe.OptimizerSettings, "`[evaluation]`": recipe.EvaluationSettings,
}  # fmt: skip
TABLES = {"model", "data", "batch", "loss", "teacher", "optimizer", "evaluation"}


def written(default: Any) -> str:
    """A default as the document writes it."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return f"`{default}`".lower()
    if isinstance(default, str):
        return f'`"{default}"`'
    return f"`{list(default)}`" if isinstance(default, tuple) else f"`{default}`"


def test_every_key_is_told_with_its_default() -> None:
    parts = re.split(r"^### (.+)$", TEXT.partition("## The folder of a run")[0], flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(sections) == list(SECTIONS)
    for name, settings in SECTIONS.items():
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", sections[name], flags=re.MULTILINE)
        expected = [
            (key, "required" if field.is_required() else written(field.default))
            for key, field in settings.model_fields.items()
            if settings is not recipe.Recipe or key not in TABLES
        ]
        assert rows == expected, name


def test_the_first_recipe_is_one(tmp_path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "first.toml").write_text(text, "utf-8")
    assert recipe.read_recipe(tmp_path / "first.toml").name == "first"
