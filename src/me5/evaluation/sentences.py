"""The task sentences that evaluation gives to instruct models: by a set's name, by its type, and other phrasings."""

from collections.abc import Mapping

from me5.prompts import SIMILAR_TEXT, WEB_SEARCH, evaluation_sentence

# The sentence of a task of which only the type is known: E5's own sentence where its authors had one for the
# type, else mteb's (`abstask_prompt` of its task classes, mteb 2.26). The default for retrieval is the model card's.
TYPE_SENTENCES: Mapping[str, str] = {
    "Retrieval": WEB_SEARCH,
    "Reranking": WEB_SEARCH,
    "BitextMining": "Retrieve parallel sentences.",
    "STS": SIMILAR_TEXT,
    "PairClassification": "Retrieve text that are semantically similar to the given text.",
    "Classification": "Classify user passages.",
    "Clustering": "Identify categories in user passages.",
}

# Other phrasings of the same tasks, to see how far a score depends on the words (`me5 eval prompts`).
PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "query": (
        WEB_SEARCH,
        "Given a question, retrieve Wikipedia passages that answer the question",
        "Retrieve Wikipedia passages that answer the question",
        "Given a query, retrieve relevant documents",
        "Retrieve text based on user query.",
        "Represent this sentence for searching relevant passages",
    ),
    "both": (
        SIMILAR_TEXT,
        "Retrieve parallel sentences.",
        "Retrieve text that are semantically similar to the given text.",
        "Find texts with the same meaning",
        "Identify the topic of the text",
        "Represent the sentence",
    ),
}
# What mteb puts behind a name: versions, and shorter or renamed editions of a set.
_ENDINGS = ("", ".v2", "hardnegatives", "retrieval")


def sentence_of_set(name: str) -> str | None:
    """The sentence that E5's authors used for an evaluation set, or None; mteb's endings of its name do not count."""
    plain = name.lower()
    for ending in _ENDINGS:
        plain = plain.removesuffix(ending)
        if (sentence := evaluation_sentence(plain)) is not None:
            return sentence
    return None
