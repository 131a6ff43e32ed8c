"""A cross-encoder, trained: by transformers' own gradients, resumable, read by others, better than where it began."""

import json
import signal
from pathlib import Path

import crossencoders
import numpy as np
import pytest
import tiny
import torch
from test_loop import children, logged
from typer.testing import CliRunner

from me5.cli import app
from me5.embedder import Embedder
from me5.errors import InputError
from me5.reranker import Reranker
from me5.training import plan
from me5.training.loop import Step, Trainer
from me5.training.recipe import read_recipe
from me5.training.start import start

# What begins at a checkpoint.
START = (
    ('start = "random"\ntokenizer = "tokenizer"', 'start = "START"'),
    ("shape = { layers = 1, hidden = 16, heads = 2, intermediate = 24 }\n", ""),
)


def begun_at(folder: Path, *changes: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    (old, new), shape = START
    return ((old, new.replace("START", str(folder))), shape, *changes)


def trainer_of(recipe: Path) -> Trainer:
    return Trainer(read_recipe(recipe), recipe.parent / "cache", advance=lambda texts, tokens: None)


def right(reranker: Reranker) -> float:
    """How often a question's own answer comes before all its negatives."""
    first = [
        reranker.rank(question, [tiny.ANSWERS[at] for at in (number, *tiny.negatives_of(number))])[0].index == 0
        for number, question in enumerate(tiny.QUESTIONS)
    ]
    return float(np.mean(first))


@pytest.fixture(scope="module")
def room(workshop, tmp_path_factory) -> Path:
    """A folder with tokenizer, data with a teacher's scores, a recipe, and sets to judge the order of."""
    folder = tmp_path_factory.mktemp("ranking")
    (folder / "tokenizer").symlink_to(workshop / "tokenizer")
    tiny.write_data(folder / "data", scored=4)
    tiny.write_ranking(folder, "recipe")
    asked = folder / "eval" / "asked"
    (asked / "qrels").mkdir(parents=True)
    for name, key, texts in (("corpus", "d", tiny.ANSWERS), ("queries", "q", tiny.QUESTIONS)):
        lines = [json.dumps({"_id": f"{key}{at}", "text": text}) + "\n" for at, text in enumerate(texts)]
        (asked / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    judged = "".join(f"q{at}\td{at}\t1\n" for at in range(len(tiny.QUESTIONS)))
    (asked / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, "utf-8")
    return folder


@pytest.fixture(scope="module")
def whole(room) -> Path:
    """The folder of an undisturbed run."""
    tiny.train(room / "recipe.toml", room / "runs" / "whole")
    return room / "runs" / "whole"


@pytest.fixture(scope="module")
def embedding(room) -> Path:
    """A model that embeds."""
    tiny.train(tiny.write_recipe(room, "embedding", ("steps = 6", "steps = 1")), room / "runs" / "embedding")
    return room / "runs" / "embedding" / "model"


def test_the_loss_falls_and_the_order_gets_better(whole, room) -> None:
    log = logged(whole)
    assert np.mean([entry["loss"] for entry in log[-4:]]) < 0.5 * np.mean([entry["loss"] for entry in log[:4]])
    once = tiny.write_ranking(room, "once", ("steps = 24", "steps = 1"), ("rate = 3e-2", "rate = 1e-9"))
    tiny.train(once, room / "runs" / "once")
    before, after = (right(Reranker.load(room / "runs" / name / "model")) for name in ("once", "whole"))
    assert after > before + 0.2


def test_killed_and_gone_on_with_it_ends_as_if_nothing_had_been(whole, room) -> None:
    folder = room / "runs" / "killed"
    (child,) = children(1, 13, room / "recipe.toml", folder)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == -signal.SIGKILL, errors
    assert not (folder / "model").exists()
    assert [entry.step for entry in tiny.train(room / "recipe.toml", folder)] == [*range(11, 25)]
    for one, other in zip(logged(whole), logged(folder), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    weights = "model/model.safetensors"
    assert (folder / weights).read_bytes() == (whole / weights).read_bytes()


@pytest.mark.parametrize("layout", ["xlm-roberta", "bert-wordpiece", "bert"])
@pytest.mark.parametrize(
    "loss", ['kind = "listwise"\ndistillation = 0.5', 'kind = "binary"'], ids=["listwise", "binary"]
)
def test_gradients_are_those_of_transformers(room, layout: str, loss: str, tmp_path) -> None:
    """Of the same batch, padded, with the losses of plain PyTorch; from a cross-encoder that is there already."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = crossencoders.build(tmp_path / layout, crossencoders.LAYOUTS[layout])
    recipe = tiny.write_ranking(room, f"{layout}-{len(loss)}", *begun_at(folder), ('kind = "listwise"', loss))
    trainer = trainer_of(recipe)
    batch = trainer.feed[0]
    loss_of, _ = trainer.gradients(batch)

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    targets = batch.targets
    owners = targets.owners.clone()
    owners[targets.positives[:, 1]] = targets.positives[:, 0]
    by_key = {key: text for text, key in zip(_texts(trainer), trainer.entries[0].store.keys.tolist(), strict=True)}
    texts = [
        (by_key[int(targets.query_keys[owner])], by_key[int(key)])
        for owner, key in zip(owners.tolist(), targets.document_keys.tolist(), strict=True)
    ]
    told = tokenizer([list(pair) for pair in texts], padding=True, return_tensors="pt")
    logits = model(**told).logits[:, 0]
    truth = torch.zeros(())
    positives = dict(targets.positives.tolist())
    taught = map(tuple, targets.teacher_pairs.tolist())
    scores = dict(zip(taught, targets.teacher_scores.tolist(), strict=True))
    for query, positive in positives.items():
        listed = [positive, *(at for at in range(len(owners)) if owners[at] == query and at != positive)]
        if "binary" in loss:
            labels = torch.eye(len(listed))[0]
            truth = truth + torch.nn.functional.binary_cross_entropy_with_logits(
                logits[listed], labels, reduction="sum"
            ) / len(owners)
            continue
        truth = truth + torch.nn.functional.cross_entropy(logits[listed][None], torch.tensor([0])) / len(positives)
        theirs = torch.tensor([scores[query, at] for at in listed]).softmax(0)
        apart = torch.nn.functional.kl_div(logits[listed].log_softmax(0), theirs, reduction="sum")
        truth = truth + 0.5 * apart / len(positives)
    truth.backward()
    assert loss_of.item() == pytest.approx(truth.item(), abs=2e-5)
    named = dict(model.named_parameters())
    heads = {"head.dense.weight": ("classifier.dense.weight", "bert.pooler.dense.weight"),
             "head.logits.weight": ("classifier.out_proj.weight", "classifier.weight"),
             "head.logits.bias": ("classifier.out_proj.bias", "classifier.bias")}  # fmt: skip
    prefix = "roberta" if layout == "xlm-roberta" else "bert"
    of_layer = f"{prefix}.encoder.layer.0."
    bodies = {"layers.0.feedforward_in.weight": (f"{of_layer}intermediate.dense.weight",),
              "types.weight": (f"{prefix}.embeddings.token_type_embeddings.weight",),
              "layers.0.attention_output.weight": (f"{of_layer}attention.output.dense.weight",)}  # fmt: skip
    ours = dict(trainer.encoder.named_parameters())
    for name, others in (heads | bodies).items():
        theirs = next(named[other].grad for other in others if other in named)
        # What is added to all of a list changes nothing there.
        assert float(theirs.abs().max()) > 1e-6 or (name == "head.logits.bias" and "listwise" in loss), name
        torch.testing.assert_close(ours[name].grad, theirs, atol=2e-5, rtol=1e-3, msg=name)


def _texts(trainer: Trainer) -> list[str]:
    from me5.data.dataset import Dataset

    dataset = Dataset.open(trainer.recipe.data[0].dataset)
    found = [document.whole for document in dataset.documents()]
    instructions: list[str] = []
    for query in dataset.queries():
        found.append(query.text)
        if query.instruction not in ("", *instructions):
            instructions.append(query.instruction)
    return found + instructions


@pytest.mark.parametrize("body", ["xlm-roberta", "bert"])
def test_transformers_reads_the_result(room, body: str) -> None:
    name = f"read-{body}"
    shape = ("intermediate = 24 }", f'intermediate = 24, body = "{body}" }}')
    tiny.train(tiny.write_ranking(room, name, ("steps = 24", "steps = 2"), shape), room / "runs" / name)
    folder = room / "runs" / name / "model"
    pairs = list(zip(tiny.QUESTIONS, tiny.ANSWERS, strict=True))
    ours = Reranker.load(folder, precision="f32").score(pairs, activation="identity")
    np.testing.assert_allclose(ours, crossencoders.by_transformers(folder, pairs)[:, 0], atol=2e-5)
    assert 0 < Reranker.load(folder).score(pairs).min() < 1  # a sigmoid, where nothing else is asked for


def test_it_starts_at_an_encoder_or_a_cross_encoder(room, whole, embedding) -> None:
    settings = read_recipe(tiny.write_ranking(room, "at", *begun_at(embedding))).model
    one, other = (start(settings, seed, ranks=True).encoder for seed in (1, 2))
    assert torch.equal(one.layers[0].qkv.weight, other.layers[0].qkv.weight)
    assert one.head is not None
    assert other.head is not None
    assert not torch.equal(one.head.dense.weight, other.head.dense.weight)
    assert torch.equal(one.head.dense.weight, start(settings, 1, ranks=True).encoder.head.dense.weight)
    going_on = read_recipe(tiny.write_ranking(room, "on", *begun_at(whole / "model"))).model
    again = start(going_on, 5, ranks=True).encoder
    kept = Reranker.load(whole / "model", precision="f32")
    assert again.head is not None
    expected = trainer_of(room / "recipe.toml")  # the same shape, other weights
    assert not torch.equal(again.head.dense.weight, expected.encoder.head.dense.weight)
    assert kept.head.outputs == 1
    with pytest.raises(InputError, match=r"is a cross-encoder and gives no vectors; train it with loss.kind"):
        start(going_on, 5)
    two = crossencoders.build(room / "two-outputs", crossencoders.LAYOUTS["xlm-roberta"], outputs=2)
    with pytest.raises(InputError, match="has 2 outputs, expected a reranker with 1"):
        start(read_recipe(tiny.write_ranking(room, "two", *begun_at(two))).model, 5, ranks=True)


def test_adapters_leave_the_head_to_learn(room, whole) -> None:
    recipe = tiny.write_ranking(room, "adapted", *begun_at(whole / "model", ("steps = 24", "steps = 2"),
                   ("dropout = 0.0", "dropout = 0.0\nfreeze_words = true\nlora = { rank = 2 }")))  # fmt: skip
    tiny.train(recipe, room / "runs" / "adapted")
    from safetensors.numpy import load_file

    before, after = (load_file(room / "runs" / name / "model" / "model.safetensors") for name in ("whole", "adapted"))
    changed = {name for name, weights in before.items() if not np.array_equal(weights, after[name])}
    assert {"classifier.dense.weight", "classifier.out_proj.weight"} <= changed
    assert "roberta.encoder.layer.0.attention.self.query.weight" in changed
    assert not any("embeddings" in name for name in changed)


def test_its_order_is_judged_on_the_way(room, embedding) -> None:
    judged = f'[evaluation]\npaths = ["eval"]\nevery = 12\ndepth = 4\nfirst = "{embedding}"\n[optimizer]'
    recipe = tiny.write_ranking(room, "judged", ("[optimizer]", judged))
    seen = [entry for entry in tiny.train(recipe, room / "runs" / "judged") if not isinstance(entry, Step)]
    assert [entry.step for entry in seen] == [12, 24]
    ((name, score),) = seen[-1].evaluation.items()
    assert name.startswith("Retrieval/")
    model = room / "runs" / "judged" / "model"
    embedder, reranker = Embedder.load(embedding), Reranker.load(model)
    cosines = embedder.similarity(embedder.encode_query(tiny.QUESTIONS), embedder.encode_document(tiny.ANSWERS))
    gains = []
    for at, question in enumerate(tiny.QUESTIONS):
        best = np.argsort(-cosines[at])[:4].tolist()
        ranked = reranker.rank(question, [tiny.ANSWERS[place] for place in best])
        order = [best[one.index] for one in ranked] + np.argsort(-cosines[at])[4:].tolist()
        gains.append(1 / np.log2(order.index(at) + 2))
    assert score == pytest.approx(float(np.mean(gains)), abs=0.02)
    sentences = tiny.write_ranking(room, "odd", ("[optimizer]", judged.replace('"eval"', '"sts.tsv"')))
    (room / "sts.tsv").write_text("1.0\ta\tb\n2.0\tb\tc\n", "utf-8")
    with pytest.raises(InputError, match="is a set for STS, and a cross-encoder orders documents"):
        trainer_of(sentences)


def test_its_scores_teach_a_model_that_embeds(room, whole, monkeypatch) -> None:
    """E5's second stage, from the teacher on."""
    monkeypatch.chdir(room)
    command = ["data", "score", "data", "--teacher", str(whole / "model"), "--out", "taught"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    changes = (("steps = 6", "steps = 1"), ('dataset = "data"', 'dataset = "taught"'))
    recipe = tiny.write_recipe(room, "stage2", *changes, ("temperature = 0.05", "distillation = 1.0"))
    (step,) = tiny.train(recipe, room / "runs" / "stage2")
    assert isinstance(step, Step)
    assert step.distillation > 0


def test_a_plan_counts_pairs(room, tmp_path) -> None:
    recipe = read_recipe(room / "recipe.toml")
    guessed = plan.make_plan(recipe, tmp_path / "none")
    trainer_of(room / "recipe.toml")
    known = plan.make_plan(recipe, room / "cache")
    assert (guessed.workload.sampled, known.workload.sampled) == (True, False)
    assert known.workload.documents == 18
    assert guessed.workload.tokens == pytest.approx(known.workload.tokens, rel=0.4)
    assert known.memory["loss"] == 0


WRONG = [
    ('kind = "listwise"', 'kind = "pairwise"', "loss.kind: Input should be 'contrastive', 'listwise' or 'binary'"),
    ('kind = "listwise"', 'kind = "binary"\nmatryoshka = [8]', "matryoshka: for vectors, and kind = \"binary\" trains"),
    ('kind = "listwise"', 'kind = "binary"\nrows = 8\ndirections = "both"', "loss: directions, rows: for vectors"),
    ("negatives = 2", "negatives = 0", "batch.negatives is 0, and loss.kind = \"listwise\" learns to tell"),
    ('dataset = "data"', 'dataset = "data"\nsymmetric = true', "data.symmetric: for models that embed"),
    ('dataset = "data"', 'dataset = "data"\ninstructions = ["web-search"]', "data.instructions: for models that embed"),
    ("max_tokens = 128", 'max_tokens = 128\nprompts = "instruct"', "model.prompts: for models that embed"),
    ("[optimizer]", '[teacher]\nmodel = "me5-small"\n[optimizer]', "teacher: for models that embed"),
    ('kind = "listwise"', '[evaluation]\npaths = ["eval"]\nevery = 1\ndepth = 5', "evaluation.depth: for a cross-enc"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told"), WRONG, ids=[wrong[2][:40] for wrong in WRONG])
def test_a_recipe_that_cannot_be_is_refused_by_name(tmp_path, old: str, new: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_recipe(tiny.write_ranking(tmp_path, "wrong", (old, new)))
    assert told in str(caught.value)


def test_data_that_cannot_teach_it_are_refused(room, tmp_path) -> None:
    wide = tiny.write_ranking(room, "wide", ("document_tokens = 60", "document_tokens = 90"))
    with pytest.raises(InputError, match=r"query_tokens 60, document_tokens 90 and 4 special tokens are 154 together"):
        trainer_of(wide)
    alike = tiny.write_ranking(room, "alike", ('dataset = "data"', 'dataset = "data"\nsources = ["parallel"]'))
    with pytest.raises(InputError, match="no pair that fits sources, languages and longest of its entry"):
        trainer_of(alike)
    from me5.data.contract import Document, Example, Query
    from me5.data.writing import write_dataset

    write_dataset(tmp_path / "bare", [Example(Query("a"), Document("b"), source="s")], step={"step": "test"})
    bare = tiny.write_ranking(room, "bare", ('dataset = "data"', f'dataset = "{tmp_path / "bare"}"'))
    with pytest.raises(InputError, match="has no hard negatives, and a cross-encoder needs them; see `me5 data mine`"):
        trainer_of(bare)


def test_the_command_says_what_to_try(room, monkeypatch) -> None:
    monkeypatch.chdir(room)
    recipe = tiny.write_ranking(room, "short", ("steps = 24", "steps = 1"))
    told = CliRunner().invoke(app, ["train", str(recipe), "--out", "runs/short"], catch_exceptions=False)
    assert "--model runs/short/model" in told.output
