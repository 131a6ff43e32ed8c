"""The head of a cross-encoder, as config.json describes it: how many numbers it gives, and how they become scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from me5.errors import CheckpointError

Activation = Literal["sigmoid", "identity"]
# The class that transformers loads such a network as, by the body's model_type.
CLASSES: Mapping[str, str] = {
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "bert": "BertForSequenceClassification",
}
# sentence-transformers writes the activation as the dotted name of a class of torch's.
ACTIVATIONS: Mapping[Activation, str] = {
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "identity": "torch.nn.modules.linear.Identity",
}
_MOST_OUTPUTS = 1 << 12


@dataclass(frozen=True)
class Head:
    """What stands on the first token's state: a layer with tanh, then one with `outputs` numbers, the logits.

    Both bodies have the same one, under other names. `activation` makes scores of logits where a caller names none.
    """

    outputs: int
    activation: Activation


def read_head(path: Path, config: Mapping[str, Any], saved: Mapping[str, Any]) -> Head | None:
    """The head that a config.json at `path` describes, or None for an encoder without one.

    `saved` is config_sentence_transformers.json, whose activation goes before that of config.json, as in
    sentence-transformers; without any it is a sigmoid for one output, else none.
    """
    names = config.get("architectures")
    if not isinstance(names, list) or CLASSES.get(config.get("model_type", "")) not in names:
        return None
    labels = config.get("id2label")
    # Where a file says neither, transformers makes two outputs.
    outputs = len(labels) if isinstance(labels, dict) else config.get("num_labels", 2)
    if type(outputs) is not int or not 1 <= outputs <= _MOST_OUTPUTS:
        raise CheckpointError(
            f"{path}: id2label or num_labels make {outputs!r:.60} outputs, expected a whole number, 1 to "
            f"{_MOST_OUTPUTS:,}"
        )
    section = config.get("sentence_transformers")
    named = (
        saved.get("activation_fn")
        or (section.get("activation_fn") if isinstance(section, dict) else None)
        or config.get("sbert_ce_default_activation_function")
    )
    return Head(outputs, _activation(path, named) if named else "sigmoid" if outputs == 1 else "identity")


def _activation(path: Path, named: object) -> Activation:
    for activation, theirs in ACTIVATIONS.items():
        # By the class alone: its module is written in several ways.
        if str(named).startswith("torch.") and str(named).rpartition(".")[2] == theirs.rpartition(".")[2]:
            return activation
    raise CheckpointError(
        f"{path}: the activation of scores is {named!r:.80}, expected {' or '.join(ACTIVATIONS.values())}"
    )
