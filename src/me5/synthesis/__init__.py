"""Synthetic training data: a chat model's answers → a dataset. Needs the extra `synth`.

    plan ─ requests ─ chat endpoint ─ log of answers ─ parsing and checks ─ dataset
         ─ deduplication ─ decontamination ─ a model's verdict ─ dataset, report

What is in the dataset depends on the log alone, never on the order in which answers came.
"""

import importlib.util

from me5.errors import MissingExtraError

_LIBRARIES = ("openai", "pydantic", "rensa", "py3langid", "langcodes", "semantic_text_splitter")
if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
    raise MissingExtraError("synthetic data needs more libraries: pip install 'me5[synth]'")
