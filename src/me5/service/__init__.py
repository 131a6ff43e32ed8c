"""The service: one process that answers OpenAI's, TEI's and Cohere's requests for vectors, with a page to try it.

    HTTP ─ wire ─ pipeline: prompt, tokenize ─ queue ─ worker: the engine in a process of its own ─ wire ─ HTTP

`settings` holds every option once. `pipeline` is the whole service without HTTP: texts in, vectors out. `queue` decides
which sequences run next, `dispatch` carries them to the `worker` and survives its crashes. `app` is the web server
around it, `server` the process.
"""

from importlib.util import find_spec

from me5.errors import MissingExtraError

_NEEDED = ("fastapi", "httptools", "orjson", "prometheus_client", "uvicorn", "uvloop")


def check_installed() -> None:
    """Raise `MissingExtraError` unless the packages of the extra are here. They are looked for, not imported."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise MissingExtraError(f"the service needs {', '.join(missing)}: pip install 'me5[serve]'")
