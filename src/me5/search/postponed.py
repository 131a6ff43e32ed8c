"""Packages whose own code runs when a name of theirs is first asked for; their modules are imported as ever.

LanceDB imports the models of a REST client, and with them the whole client, which only its remote catalogues call: two
fifths of the processor time of `import lancedb` 0.40 (1.40 and 0.87 s, in turns on a busy machine).
"""

import sys
from importlib.util import find_spec, module_from_spec
from typing import Any


def postpone(name: str) -> None:
    """Put a package in place without running its code; nothing happens to one that is loaded, or is not there."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    module, loader = module_from_spec(spec), spec.loader

    def run(attribute: str) -> Any:
        vars(module).pop("__getattr__", None)
        loader.exec_module(module)
        return getattr(module, attribute)

    vars(module)["__getattr__"] = run
    sys.modules[name] = module
