"""Prompts: texts with placeholders, in files that a user can copy and change."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template

from me5.errors import InputError
from me5.files.atomic import new_folder

SYSTEM = "system.txt"
_FOLDER = Path(__file__).parent / "templates"
_PLACEHOLDER = re.compile(r"\$\{?([a-z_]+)")


@dataclass(frozen=True)
class Templates:
    """The texts of all prompts by the names of their files."""

    texts: Mapping[str, str]

    @classmethod
    def load(cls, folder: Path | None = None) -> "Templates":
        """Ours, or a folder's in their place. Raises `InputError` for a file or placeholder that has no use."""
        own = {path.name: path.read_text("utf-8") for path in sorted(_FOLDER.glob("*.txt"))}
        if folder is None:
            return cls(own)
        if not folder.is_dir():
            raise InputError(
                f"{folder} is not a folder; `--write-prompts FOLDER` writes one with our prompts to change"
            )
        changed = {path.name: _read(path) for path in sorted(folder.glob("*.txt"))}
        if unknown := [name for name in changed if name not in own]:
            raise InputError(f"{folder / unknown[0]} is not a prompt of ours; expected names are {', '.join(own)}")
        for name, text in changed.items():
            _check(folder / name, text, own[name])
        return cls(own | changed)

    def fill(self, name: str, values: Mapping[str, str]) -> str:
        """A prompt with its values."""
        return Template(self.texts[name]).substitute(values).strip()

    def hashes(self) -> dict[str, str]:
        """The sha256 of each text."""
        return {name: sha256(text.encode()).hexdigest() for name, text in self.texts.items()}

    def write(self, folder: Path) -> None:
        """Write all of them to a new folder."""
        with new_folder(folder) as partial:
            for name, text in self.texts.items():
                (partial / name).write_text(text, encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _check(path: Path, text: str, own: str) -> None:
    """Compare the placeholders of a changed text with those of ours: others have no value."""
    template, offered = Template(text), set(_PLACEHOLDER.findall(own))
    if not template.is_valid():
        raise InputError(f"{path} has a $ that begins no placeholder; write $$ for the sign itself")
    if unknown := sorted(set(template.get_identifiers()) - offered):
        raise InputError(
            f"{path} has the placeholder ${unknown[0]}; there are {', '.join(f'${name}' for name in sorted(offered))}"
        )
