"""How a query or a document becomes the text that the model was trained on.

Three styles exist in the families that me5 loads:

    instruct   queries are `Instruct: {task}` + newline + `Query: {text}`; documents stay bare
    prefix     fixed words in front of each side, such as `query: ` and `passage: `, or named ones from the checkpoint
    none       every text stays bare

Symmetric use (similarity, bitext, clustering, classification) puts the same prompt on every text of both sides.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from me5.errors import PromptError

Side = Literal["query", "document", "both"]
SIDES: tuple[Side, ...] = ("query", "document", "both")

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
SIMILAR_TEXT = "Retrieve semantically similar text."

# Short names for everyday use. The sentences are those the model was trained or evaluated with (EVALUATION_TASKS).
TASKS: Mapping[str, str] = {
    "web-search": WEB_SEARCH,
    "question-answering": "Given a question, retrieve Wikipedia passages that answer the question",
    "multi-hop-question": "Given a multi-hop question, retrieve documents that can help answer the question",
    "fact-check": "Given a claim, retrieve documents that support or refute the claim",
    "counter-argument": "Given a claim, find documents that refute the claim",
    "scientific-claim": "Given a scientific claim, retrieve documents that support or refute the claim",
    "citation": "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper",
    "duplicate-question": (
        "Given a question, retrieve questions that are semantically equivalent to the given question"
    ),
    "long-answer": "Provided a user question, retrieve the highest voted answers on Reddit ELI5 forum",
    "entailment": "Given a premise, retrieve a hypothesis that is entailed by the premise",
    "bitext": "Retrieve parallel sentences.",
    "sts": SIMILAR_TEXT,
    "summarization": "Given a news summary, retrieve other semantically similar summaries",
    "classification": "Classify user passages.",
    "sentiment": "Classify Amazon reviews into positive or negative sentiment",
    "intent": "Given a user utterance as query, find the user intents",
    "clustering": "Identify the topic or theme of the given news articles",
}

# Byte for byte what E5's instruct models were evaluated with: github microsoft/unilm e5/utils.py at 768a3c8, checked
# against a second copy in dwzhu-pku/LongEmbed at 033dc4a. "a online banking query" is theirs. Only the similarity and
# bitext sentences end in a full stop. "classification" above is mteb's fallback sentence for this model.
EVALUATION_TASKS: Mapping[str, str] = {
    # By type
    "STS": SIMILAR_TEXT,
    "Summarization": "Given a news summary, retrieve other semantically similar summaries",
    "BitextMining": "Retrieve parallel sentences.",
    # Classification
    "AmazonCounterfactualClassification": (
        "Classify a given Amazon customer review text as either counterfactual or not-counterfactual"
    ),
    "AmazonPolarityClassification": "Classify Amazon reviews into positive or negative sentiment",
    "AmazonReviewsClassification": "Classify the given Amazon review into its appropriate rating category",
    "Banking77Classification": "Given a online banking query, find the corresponding intents",
    "EmotionClassification": (
        "Classify the emotion expressed in the given Twitter message into one of the six emotions: "
        "anger, fear, joy, love, sadness, and surprise"
    ),
    "ImdbClassification": "Classify the sentiment expressed in the given movie review text from the IMDB dataset",
    "MassiveIntentClassification": "Given a user utterance as query, find the user intents",
    "MassiveScenarioClassification": "Given a user utterance as query, find the user scenarios",
    "MTOPDomainClassification": "Classify the intent domain of the given utterance in task-oriented conversation",
    "MTOPIntentClassification": "Classify the intent of the given utterance in task-oriented conversation",
    "ToxicConversationsClassification": "Classify the given comments as either toxic or not toxic",
    "TweetSentimentExtractionClassification": (
        "Classify the sentiment of a given tweet as either positive, negative, or neutral"
    ),
    "TNews": "Classify the fine-grained category of the given news title",
    "IFlyTek": "Given an App description text, find the appropriate fine-grained category",
    "MultilingualSentiment": "Classify sentiment of the customer review into positive, neutral, or negative",
    "JDReview": "Classify the customer review for iPhone on e-commerce platform into positive or negative",
    "OnlineShopping": "Classify the customer review for online shopping into positive or negative",
    "Waimai": "Classify the customer review from a food takeaway platform into positive or negative",
    # Clustering
    "ArxivClusteringP2P": "Identify the main and secondary category of Arxiv papers based on the titles and abstracts",
    "ArxivClusteringS2S": "Identify the main and secondary category of Arxiv papers based on the titles",
    "BiorxivClusteringP2P": "Identify the main category of Biorxiv papers based on the titles and abstracts",
    "BiorxivClusteringS2S": "Identify the main category of Biorxiv papers based on the titles",
    "MedrxivClusteringP2P": "Identify the main category of Medrxiv papers based on the titles and abstracts",
    "MedrxivClusteringS2S": "Identify the main category of Medrxiv papers based on the titles",
    "RedditClustering": "Identify the topic or theme of Reddit posts based on the titles",
    "RedditClusteringP2P": "Identify the topic or theme of Reddit posts based on the titles and posts",
    "StackExchangeClustering": "Identify the topic or theme of StackExchange posts based on the titles",
    "StackExchangeClusteringP2P": "Identify the topic or theme of StackExchange posts based on the given paragraphs",
    "TwentyNewsgroupsClustering": "Identify the topic or theme of the given news articles",
    "CLSClusteringS2S": "Identify the main category of scholar papers based on the titles",
    "CLSClusteringP2P": "Identify the main category of scholar papers based on the titles and abstracts",
    "ThuNewsClusteringS2S": "Identify the topic or theme of the given news articles based on the titles",
    "ThuNewsClusteringP2P": "Identify the topic or theme of the given news articles based on the titles and contents",
    # Reranking
    "AskUbuntuDupQuestions": "Retrieve duplicate questions from AskUbuntu forum",
    "MindSmallReranking": "Retrieve relevant news articles based on user browsing history",
    "SciDocsRR": "Given a title of a scientific paper, retrieve the titles of other relevant papers",
    "StackOverflowDupQuestions": "Retrieve duplicate questions from StackOverflow forum",
    "T2Reranking": "Given a Chinese search query, retrieve web passages that answer the question",
    "MMarcoReranking": "Given a Chinese search query, retrieve web passages that answer the question",
    "CMedQAv1": "Given a Chinese community medical question, retrieve replies that best answer the question",
    "CMedQAv2": "Given a Chinese community medical question, retrieve replies that best answer the question",
    # PairClassification
    "SprintDuplicateQuestions": "Retrieve duplicate questions from Sprint forum",
    "TwitterSemEval2015": "Retrieve tweets that are semantically similar to the given tweet",
    "TwitterURLCorpus": "Retrieve tweets that are semantically similar to the given tweet",
    "Ocnli": "Retrieve semantically similar text.",
    "Cmnli": "Retrieve semantically similar text.",
    # Retrieval
    "CQADupstack": (
        "Given a question, retrieve detailed question descriptions from Stackexchange "
        "that are duplicates to the given question"
    ),
    "ArguAna": "Given a claim, find documents that refute the claim",
    "ClimateFEVER": "Given a claim about climate change, retrieve documents that support or refute the claim",
    "DBPedia": "Given a query, retrieve relevant entity descriptions from DBPedia",
    "FEVER": "Given a claim, retrieve documents that support or refute the claim",
    "FiQA2018": "Given a financial question, retrieve user replies that best answer the question",
    "HotpotQA": "Given a multi-hop question, retrieve documents that can help answer the question",
    "MSMARCO": "Given a web search query, retrieve relevant passages that answer the query",
    "NFCorpus": "Given a question, retrieve relevant documents that best answer the question",
    "NQ": "Given a question, retrieve Wikipedia passages that answer the question",
    "QuoraRetrieval": "Given a question, retrieve questions that are semantically equivalent to the given question",
    "SCIDOCS": "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper",
    "SciFact": "Given a scientific claim, retrieve documents that support or refute the claim",
    "Touche2020": "Given a question, retrieve detailed and persuasive arguments that answer the question",
    "TRECCOVID": "Given a query on COVID-19, retrieve documents that answer the query",
    "T2Retrieval": "Given a Chinese search query, retrieve web passages that answer the question",
    "MMarcoRetrieval": "Given a web search query, retrieve relevant passages that answer the query",
    "DuRetrieval": "Given a Chinese search query, retrieve web passages that answer the question",
    "CovidRetrieval": "Given a question on COVID-19, retrieve news articles that answer the question",
    "CmedqaRetrieval": "Given a Chinese community medical question, retrieve replies that best answer the question",
    "EcomRetrieval": (
        "Given a user query from an e-commerce website, retrieve description sentences of relevant products"
    ),
    "MedicalRetrieval": "Given a medical question, retrieve user replies that best answer the question",
    "VideoRetrieval": "Given a video search query, retrieve the titles of relevant videos",
    "miracl": "Given a question, retrieve Wikipedia passages that answer the question",
}

# BEIR's spellings of the same sets; Mr.TyDi was trained with MIRACL's sentence.
_BY_NAME: Mapping[str, str] = {
    **{name.lower(): name for name in EVALUATION_TASKS},
    "mrtydi": "miracl",
    "trec-covid": "TRECCOVID",
    "climate-fever": "ClimateFEVER",
    "dbpedia-entity": "DBPedia",
    "webis-touche2020": "Touche2020",
    "fiqa": "FiQA2018",
    "quora": "QuoraRetrieval",
}

_INSTRUCT = re.compile(r"Instruct: (?P<task>.+)\nQuery: ", re.DOTALL)


@dataclass(frozen=True)
class Prompts:
    """The prompts of one model: what stands in front of a text, by side and task.

    `query`, `document` and `both` are the literal strings of the prefix style; `named` are further ones that the
    checkpoint lists, chosen by passing their name as the task.
    """

    style: Literal["instruct", "prefix", "none"]
    query: str = ""
    document: str = ""
    both: str = ""
    default_task: str = WEB_SEARCH
    named: Mapping[str, str] = field(default_factory=dict)

    def prefix(self, side: Side, task: str | None = None) -> str:
        """What stands in front of a text, byte for byte.

        `task` is a name from `TASKS` or `EVALUATION_TASKS`, or a free sentence; None is the model card's default.
        Raises `PromptError` for an unknown name, or for a task that the model has no place for.
        """
        if side not in SIDES:
            raise PromptError(f"unknown side {side!r}; expected one of {', '.join(SIDES)}")
        if self.style == "instruct":
            return self._instruct(side, task)
        if task is None:
            return {"query": self.query, "document": self.document, "both": self.both}[side]
        if task in self.named:
            return self.named[task]
        offer = f"; its named prompts are {', '.join(sorted(self.named))}" if self.named else ""
        raise PromptError(f"this model has fixed prompts and takes no task, got {task!r}{offer}. Leave the task out")

    def _instruct(self, side: Side, task: str | None) -> str:
        if side == "document":
            if task is not None:
                raise PromptError(
                    "documents of an instruct model stay bare, so that one index serves every task; "
                    f"got the task {task!r}. Give it to the queries, or use the symmetric side for both"
                )
            return ""
        sentence = task_sentence(task) if task is not None else {"query": self.default_task, "both": SIMILAR_TEXT}[side]
        return f"Instruct: {sentence}\nQuery: "

    def carried_by(self, text: str) -> str | None:
        """The prompt that `text` already starts with, or None."""
        if text.startswith(("Instruct: ", "Instruct:")) and "\nQuery:" in text:
            return "Instruct: …"
        literals = {"query: ", "passage: ", self.query, self.document, self.both, *self.named.values()} - {""}
        return next((literal for literal in sorted(literals) if text.startswith(literal)), None)


NONE = Prompts("none")
INSTRUCT = Prompts("instruct")
E5_PREFIX = Prompts("prefix", query="query: ", document="passage: ", both="query: ")

STYLES: Mapping[str, Prompts] = {"instruct": INSTRUCT, "prefix": E5_PREFIX, "none": NONE}


def task_sentence(task: str) -> str:
    """The sentence for a task name; a free sentence (anything with a space, or beyond ASCII) is returned as it came.

    Raises `PromptError` for an empty task, one with a line break, or a single word that is not a known name.
    """
    if not isinstance(task, str):
        raise PromptError(f"a task is a string, got {type(task).__name__}")
    if task in TASKS:
        return TASKS[task]
    if (sentence := evaluation_sentence(task)) is not None:
        return sentence
    if "\n" in task or "\r" in task:
        raise PromptError(f"a task is one line, got {task!r}")
    if " " in task.strip() or not task.isascii():  # names are ASCII; many languages write sentences without spaces
        return task
    close = difflib.get_close_matches(task.lower(), {**TASKS, **_BY_NAME}, n=3)
    hint = f"did you mean {' or '.join(close)}? Or " if close else ""
    raise PromptError(
        f"unknown task {task!r}; {hint}use a name ({', '.join(TASKS)}), an evaluation task such as NFCorpus, "
        "or a sentence that describes the task"
    )


def evaluation_sentence(name: str) -> str | None:
    """The sentence that E5's authors used for an evaluation task, named in any case or as in BEIR, or None."""
    if name.lower().startswith("cqadupstack"):
        return EVALUATION_TASKS["CQADupstack"]
    known = _BY_NAME.get(name.lower())
    return EVALUATION_TASKS[known] if known is not None else None


def from_sentence_transformers(listed: Mapping[str, str]) -> Prompts | None:
    """The prompts that config_sentence_transformers.json lists, or None where it lists no text.

    A query prompt of the form `Instruct: …` makes the model an instruct model with that sentence as its default.
    """
    query = listed.get("query", "")
    document = next((listed[name] for name in ("document", "passage", "corpus") if name in listed), "")
    if not any(listed.values()):
        return None
    if (found := _INSTRUCT.fullmatch(query)) and not document:
        return Prompts("instruct", default_task=found["task"])
    both = listed.get("sts", listed.get("similarity", query))
    return Prompts("prefix", query=query, document=document, both=both, named=dict(listed))


def to_sentence_transformers(prompts: Prompts) -> dict[str, str]:
    """What config_sentence_transformers.json lists of prompts; `from_sentence_transformers` reads the same again."""
    listed = {"query": prompts.prefix("query"), "document": prompts.prefix("document"), **prompts.named}
    if prompts.style == "prefix" and prompts.both != prompts.query:
        listed.setdefault("sts", prompts.both)
    return listed
