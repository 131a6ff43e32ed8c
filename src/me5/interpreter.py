"""A fresh Python process that imports the same code as this one, and nothing from the current folder."""

import os
import subprocess
import sys
from typing import Any


def start(code: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Run code in a new interpreter and a session of its own, with a pipe as its standard input.

    `options` are those of `subprocess.Popen`. The session keeps Ctrl-C and signals to the group away from the process.
    """
    # `-P`: the folder in which someone runs a command is no place to import from.
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, **options,
    )  # fmt: skip
