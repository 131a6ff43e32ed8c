"""`me5 index`, killed again and again with one writer or two, and its store beside that of a run without a kill."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from me5.search.store import Store

WORDS = ("mountain", "river", "bread", "stone", "winter", "summer", "village", "language", "paper", "Brücke", "富士山")


def write(folder: Path, files: int, rows: int) -> None:
    """A folder of tables and texts."""
    choose = random.Random(0)
    folder.mkdir()
    for number in range(files):
        texts = [
            f"{number}.{row}: {' '.join(choose.choices(WORDS, k=choose.randrange(5, 90)))}." for row in range(rows)
        ]
        (folder / f"{number}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        (folder / f"{number}.txt").write_text("\n\n".join(texts[: rows // 4]))


def start(docs: Path, store: Path, precision: str) -> "subprocess.Popen[bytes]":
    """A writer."""
    command = [sys.executable, "-m", "me5", "index", str(docs), "--into", str(store), "--quiet", "-p", precision]
    return subprocess.Popen([*command, "--threads", "1"], stderr=subprocess.DEVNULL)


def size(store: Path) -> int:
    """Passages in a store that may not be there yet."""
    opened = Store.open(str(store))
    return 0 if opened is None else opened.count()


def killed(docs: Path, store: Path, precision: str, writers: int, kills: int) -> int:
    """Start and kill until the kills are spent or the work is done; how many runs were killed before their end."""
    draw, done = random.Random(writers), 0
    while done < kills:
        before = size(store)
        running = [start(docs, store, precision) for _ in range(writers)]
        while all(one.poll() is None for one in running) and size(store) <= before:
            time.sleep(0.02)
        time.sleep(draw.random() * 0.3)
        alive = [one for one in running if one.poll() is None]
        for one in alive:
            one.send_signal(signal.SIGKILL)
        for one in running:
            one.wait()
        if not alive:
            break
        done += len(alive)
    if start(docs, store, precision).wait() != 0:
        raise SystemExit("the last run failed")
    return done


def contents(store: Path) -> tuple[list[str], dict[str, bytes], set[tuple[str, str]], set[tuple[str, str]]]:
    """Ids, vectors by id, versions of passages and of files."""
    opened = Store.open(str(store))
    assert opened is not None
    found = opened.passages.search().select(["id", "source", "version", "vector"]).to_arrow().to_pylist()
    vectors = {row["id"]: np.asarray(row["vector"], np.float32).tobytes() for row in found}
    files = {(file.source, file.version) for file in opened.known_files().values()}
    return [row["id"] for row in found], vectors, {(row["source"], row["version"]) for row in found}, files


def kill_index(folder: Path, writers: int, kills: int, files: int, rows: int, precision: str) -> str:
    """What is lost, doubled, left behind (of files that are not there, or of another version) or differs, as JSON."""
    docs, clean, store = folder / "docs", folder / "clean.lance", folder / f"killed{writers}.lance"
    if not docs.exists():
        write(docs, files, rows)
        if start(docs, clean, precision).wait() != 0:
            raise SystemExit("the clean run failed")
    _, truth, _, _ = contents(clean)
    done = killed(docs, store, precision, writers, kills)
    ids, vectors, there, known = contents(store)
    told = {
        "case": "index",
        "writers": writers,
        "kills": done,
        "passages": len(truth),
        "lost": len(truth.keys() - vectors.keys()),
        "doubled": len(ids) - len(vectors),
        "left_behind": len(vectors.keys() - truth.keys()) + len(there ^ known),
        "vectors_that_differ": sum(vectors[one] != truth[one] for one in truth.keys() & vectors.keys()),
    }
    return json.dumps(told)
