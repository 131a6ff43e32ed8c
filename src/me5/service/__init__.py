"""The service: one process that answers OpenAI's, TEI's and Cohere's requests for vectors, with a page to try it.

    HTTP ─ wire ─ pipeline: tokenize ─ queue ─ worker: the engine in a process of its own ─ wire ─ HTTP

What carries a request, in order:

    RequestRecord one HTTP request: its name, times and costs; `recording`, the outermost layer, makes it, and reports
                  it to the log, the metrics and the spans when the request is over
    Call          whose request it is: key, allowance, and whether the caller is still there (`wire/call`)
    body          the fields as the dialect sends them
    Inputs        the texts of one field, the prompt before each of them, how they are read, and for whom
    Job           their token sequences in the queue, and the rows that the engine made of them; charged to the key's
                  allowance in `Pipeline._run`, admitted by the queue in `Dispatcher.submit`
    EngineBatch   sequences of several jobs, which the engine runs at once
    Answer        vectors and their `Usage`, which the reply shows and the `RequestRecord` keeps

Two refusals come before any work is done: a key with nothing left before the body is read, and a queue without any room
before texts are tokenized.

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
