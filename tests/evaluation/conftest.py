"""Small evaluation sets, written for the tests."""

import json
from pathlib import Path

import pytest

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
    "q4": "nothing answers this",
}
JUDGED = [("q1", "k2", 2), ("q1", "bread", 0), ("q2", "bread", 1), ("q3", "tea", 1), ("q4", "berlin", 0)]


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with one set of each kind."""
    folder = tmp_path / "data" / "retrieval" / "small"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": name, "title": title, "text": text} for name, (title, text) in PASSAGES.items()]
    queries = [{"_id": name, "text": text} for name, text in QUERIES.items()]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    judged = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in JUDGED)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, "utf-8")
    bitext, sts = tmp_path / "data" / "tatoeba", tmp_path / "data" / "sts"
    bitext.mkdir()
    sts.mkdir()
    (bitext / "deu-eng.tsv").write_text("Guten Morgen.\tGood morning.\nEs regnet.\tIt is raining.\n", "utf-8")
    (sts / "en.tsv").write_text("5.0\ta cat sleeps\ta cat is asleep\n1.5\ta cat\ta tree\n0\tsnow\ttax law\n", "utf-8")
    topics = {"sport": ("match", "goal", "team"), "food": ("bread", "soup", "cake"), "rain": ("wet", "cloud", "wind")}
    labelled = tmp_path / "data" / "topics" / "en"
    labelled.mkdir(parents=True)
    for half, count in (("train", 12), ("test", 5)):
        rows = (f"{name}\t{half} {at} {words[at % 3]}\n" for name, words in topics.items() for at in range(count))
        (labelled / f"{half}.tsv").write_text("".join(rows), "utf-8")
    return tmp_path / "data"
