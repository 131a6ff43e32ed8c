"""Where jobs keep their files: `base` is the contract; folders of a file system, and of object stores."""

from pathlib import Path

from me5.bulk.folders.base import Folder, attempt_id
from me5.bulk.folders.local import LocalFolder
from me5.bulk.folders.objects import ObjectFolder
from me5.files.objects import is_url

__all__ = ["Folder", "attempt_id", "folder_of"]


def folder_of(url: str) -> Folder:
    """The folder that a user names."""
    return ObjectFolder(url) if is_url(url) else LocalFolder(Path(url).absolute())
