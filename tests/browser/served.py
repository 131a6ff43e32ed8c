"""A `me5 serve` of the bundled model in a process of its own, and a headless Chromium that looks at it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

CHROMIUM = os.environ.get("ME5_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@contextlib.contextmanager
def served(*flags: str, keys: str = "") -> Iterator[str]:
    """The address of a service, such as http://127.0.0.1:49152/; it ends with the context."""
    options = ["--port", "0", "--threads", "1", "--log-format", "text", "--log-level", "warning"]
    command = [sys.executable, "-m", "me5", "serve", *options, *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ME5_")}
    if keys:
        environment["ME5_KEYS"] = keys
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            # It tells its address when it is ready, and ends the stream when it cannot be.
            found = next((match for line in process.stdout if (match := re.search(r"https?://[\d.:]+", line))), None)
            log.seek(0)
            assert found, f"me5 serve did not start:\n{log.read()}"
            yield f"{found[0]}/"
        finally:
            process.terminate()


def launch(playwright: Any) -> Any:
    """A browser. The caller has seen to it that there is a `CHROMIUM`."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
