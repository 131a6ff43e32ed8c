"""What the evaluation sets of the tests are made of."""

import gzip
import json
from pathlib import Path
from typing import Any

PASSAGES = {
    "k2": ("K2", "K2 rises to 8,611 metres above sea level."),
    "bread": ("", "Bake the loaf for an hour at 200 degrees."),
    "berlin": ("Berlin", "Berlin ist die Hauptstadt Deutschlands."),
    "tea": ("茶", "绿茶应该用八十度的水冲泡。"),
}
QUERIES = {
    "q1": "how tall is K2",
    "q2": "how long to bake a loaf",
    "q3": "绿茶用什么温度的水",
    "q4": "nobody judged this",
}
JUDGED = [("q1", "k2", 2), ("q1", "bread", 0), ("q2", "bread", 1), ("q3", "tea", 1)]
TOPICS = {"sport": ("match", "goal", "team"), "food": ("bread", "soup", "cake"), "rain": ("wet", "cloud", "wind")}


def write_records(path: Path, records: list[dict[str, Any]]) -> Path:
    """A JSONL file, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def corpus() -> list[dict[str, Any]]:
    return [{"_id": name, "title": title, "text": text} for name, (title, text) in PASSAGES.items()]


def make_sets(data: Path) -> Path:
    """A folder with one set of each kind."""
    folder = data / "retrieval" / "small"
    write_records(folder / "corpus.jsonl", corpus())
    write_records(folder / "queries.jsonl", [{"_id": name, "text": text} for name, text in QUERIES.items()])
    judged = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in JUDGED)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, "utf-8")
    bitext, sts = data / "tatoeba", data / "sts"
    bitext.mkdir()
    sts.mkdir()
    pairs = "Guten Morgen.\tGood morning.\nEs regnet.\tIt is raining.\nGute Nacht.\tGood night.\n"
    (bitext / "deu-eng.tsv").write_text(pairs, "utf-8")
    scored = "5.0\ta cat sleeps\ta cat is asleep\n1.5\ta cat\ta tree\n0\tsnow\ttax law\n3\tred wine\twhite wine\n"
    (sts / "en.tsv").write_text(scored, "utf-8")
    labelled = data / "topics" / "en"
    labelled.mkdir(parents=True)
    for half, count in (("train", 12), ("test", 5)):
        rows = (f"{name}\t{half} {at} {words[at % 3]}\n" for name, words in TOPICS.items() for at in range(count))
        (labelled / f"{half}.tsv").write_text("".join(rows), "utf-8")
    same = [
        ("a cat sleeps", "a cat is asleep", 1),
        ("snow", "tax law", 0),
        ("hot tea", "warm tea", 1),
        ("oak", "car", 0),
    ]
    write_records(
        data / "pairs" / "en.jsonl", [{"sentence1": a, "sentence2": b, "labels": label} for a, b, label in same]
    )
    sentences = [(name, f"{word} number {at}") for name, words in TOPICS.items() for word in words for at in range(4)]
    write_records(data / "clusters" / "en.jsonl", [{"sentences": text, "labels": name} for name, text in sentences])
    ranked = [
        {"query": "how tall is K2", "positive": ["K2 rises to 8,611 metres."], "negative": ["Bake it.", "It rains."]},
        {
            "query": "when to sow",
            "positive": ["Sow in April.", "Seeds go out in spring."],
            "negative": ["Win the match."],
        },
        {"query": "left out", "positive": [], "negative": ["nothing"]},
    ]
    write_records(data / "reranking" / "en.jsonl", ranked)
    return data
