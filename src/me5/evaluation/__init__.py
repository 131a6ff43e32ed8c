"""Evaluation: data in files, a model, and the figures by which models of this kind are compared.

    data ─ readers ─ task ─ protocols (encoder, exact search, metrics) ─ outcome ─ results ─ comparison, report

Needs the extra `eval`; loads no torch.
"""

import importlib.util

from me5.errors import MissingExtraError

if any(
    importlib.util.find_spec(name) is None for name in ("bm25s", "ir_measures", "langcodes", "scipy", "sklearn", "yaml")
):
    raise MissingExtraError("evaluation needs more libraries: pip install 'me5[eval]'")
