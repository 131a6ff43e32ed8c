"""A batch holds the right prompts, sides, negatives and masks, and is the same wherever and whenever it is made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from me5.data.jobs import Workspace
from me5.data.vectors import Vectors
from me5.errors import InputError
from me5.prompts import E5_PREFIX, INSTRUCT, Prompts
from me5.training import distributed
from me5.training.batches import Batch, Batches, Entry
from me5.training.loop import open_batches, open_entries
from me5.training.recipe import Recipe, read_recipe
from me5.training.start import Start, start

Ids = tuple[int, ...]


@pytest.fixture(scope="module")
def begun(workshop) -> Start:
    return start(read_recipe(workshop / "recipe.toml").model, 0)


def opened(
    begun: Start, path: Path, prompts: Prompts = INSTRUCT, vectors: Vectors | None = None
) -> tuple[Batches, Recipe]:
    recipe, begun = read_recipe(path), replace(begun, prompts=prompts)
    taught = recipe.model_copy(update={"teacher": None})  # whose vectors are given
    entries = open_entries(taught, begun, path.parent / "cache", advance=lambda texts, tokens: None)
    entries = [Entry(entry.data, entry.store, entry.members, vectors) for entry in entries]
    return open_batches(recipe, begun, entries)[0], recipe


def prepared(begun: Start, texts: list[str], prefix: str) -> dict[Ids, str]:
    """What `Embedder` would give its engine for some texts -> the texts."""
    sequences = begun.tokenizer.prepare(texts, prefix, "error").sequences
    return dict(zip((tuple(sequence.tolist()) for sequence in sequences), texts, strict=True))


def told(batch: Batch) -> tuple[list[Ids], list[Ids]]:
    return [tuple(ids.tolist()) for ids in batch.queries], [tuple(ids.tolist()) for ids in batch.documents]


def test_prompts_of_questions_and_answers(workshop, begun) -> None:
    path = tiny.write_recipe(workshop, "prompts", ('sources = ["parallel"]', 'sources = ["qa"]\nweight = 0'))
    batches, _ = opened(begun, path)
    queries = prepared(begun, tiny.QUESTIONS, INSTRUCT.prefix("query", tiny.INSTRUCTION))
    own = prepared(begun, tiny.QUESTIONS, INSTRUCT.prefix("query", tiny.OWN))
    answers = prepared(begun, tiny.ANSWERS, "")
    seen = set()
    for step in range(6):
        asked, answered = told(batches.make(step))
        seen |= set(asked)
        assert set(answered) <= set(answers)
    questions = {number: text for number, text in enumerate(tiny.QUESTIONS) if number != tiny.WITH_OWN}
    assert {queries[ids] for ids in seen if ids in queries} == set(questions.values())
    assert {own[ids] for ids in seen if ids not in queries} == {tiny.QUESTIONS[tiny.WITH_OWN]}


@pytest.mark.parametrize("style", ["instruct", "prefix"])
def test_prompts_of_alike_sides_which_change_places(workshop, begun, style: str) -> None:
    changes = [('sources = ["qa"]', 'sources = ["parallel"]\nweight = 0'), ("parts = 2", "parts = 1")]
    changes += [("steps = 6", "steps = 20")]
    if style == "prefix":
        changes += [(f'instructions = ["{tiny.INSTRUCTION}"]', ""), ("instructions = [", "# instructions = [")]
    batches, _ = opened(
        begun, tiny.write_recipe(workshop, style, *changes), INSTRUCT if style == "instruct" else E5_PREFIX
    )
    prefixes = ["", *(INSTRUCT.prefix("query", sentence) for sentence in tiny.SYMMETRIC)]
    if style == "prefix":
        prefixes = ["query: "]
    known = {prefix: prepared(begun, tiny.LEFT + tiny.RIGHT, prefix) for prefix in prefixes}
    swapped, used = [], set()
    for step in range(20):
        batch = batches.make(step)
        queries, documents = told(batch)
        prefix = next(prefix for prefix in prefixes if queries[0] in known[prefix])
        used.add(prefix)
        for query, document in zip(queries, documents, strict=True):
            left, right = known[prefix][query], known[prefix][document]
            swapped.append(left in tiny.RIGHT)
            if swapped[-1]:
                left, right = right, left
            assert tiny.LEFT.index(left) == tiny.RIGHT.index(right)
    assert 0.2 < np.mean(swapped) < 0.8
    assert len(used) == (1 if style == "prefix" else 3)


def test_answers_that_are_right_or_not_to_be_judged_are_masked(workshop, begun) -> None:
    path = tiny.write_recipe(
        workshop, "masks", ('sources = ["parallel"]', 'sources = ["qa"]\nweight = 0'), ("size = 8", "size = 11"),
        ("parts = 2", "parts = 1"),
    )  # fmt: skip
    batches, _ = opened(begun, path)
    queries = prepared(begun, tiny.QUESTIONS, INSTRUCT.prefix("query", tiny.INSTRUCTION))
    queries |= prepared(begun, tiny.QUESTIONS, INSTRUCT.prefix("query", tiny.OWN))
    answers = prepared(begun, tiny.ANSWERS, "")
    batch = batches.make(0)
    asked, answered = told(batch)
    assert batch.targets.positives.tolist() == [[number, number] for number in range(11)]
    expected = set()
    for query, ids in enumerate(asked):
        number = tiny.QUESTIONS.index(queries[ids])
        right = {number} | {b for a, b in tiny.SECOND | tiny.IGNORED if a == number}
        for document, other in enumerate(answered):
            if document != query and tiny.ANSWERS.index(answers[other]) in right:
                expected.add((query, document))
        hard = [tiny.ANSWERS.index(answers[answered[at]]) for at in (batch.targets.owners == query).nonzero()[:, 0]]
        assert len(hard) == 1
        assert hard[0] in tiny.negatives_of(number)
    assert {tuple(pair) for pair in batch.targets.ignore.tolist()} == expected
    assert len(expected) >= 3
    keys = dict(zip(answered, batch.targets.document_keys.tolist(), strict=True))
    assert len(set(keys.values())) == len(keys)


def test_a_swapped_pair_is_masked_as_it_would_be_unswapped(workshop, begun) -> None:
    path = tiny.write_recipe(
        workshop, "swapped", ('sources = ["qa"]', 'sources = ["qa"]\nsymmetric = true'), ("parts = 2", "parts = 1"),
        ('sources = ["parallel"]', 'sources = ["parallel"]\nweight = 0'), ("size = 8", "size = 11"),
        (f'instructions = ["{tiny.INSTRUCTION}"]', ""), ("negatives = 1", "negatives = 0"),
    )  # fmt: skip
    batches, _ = opened(begun, path)
    texts = prepared(begun, tiny.QUESTIONS + tiny.ANSWERS, "") | prepared(
        begun, tiny.QUESTIONS + tiny.ANSWERS, INSTRUCT.prefix("query", tiny.OWN)
    )
    related = {(tiny.QUESTIONS[a], tiny.ANSWERS[b]) for a, b in tiny.SECOND | tiny.IGNORED}
    related |= set(zip(tiny.QUESTIONS, tiny.ANSWERS, strict=True))
    both = 0
    for step in range(6):
        batch = batches.make(step)
        queries, documents = ([texts[ids] for ids in side] for side in told(batch))
        expected = {
            (at, place)
            for at, query in enumerate(queries)
            for place, document in enumerate(documents)
            if at != place and ((query, document) in related or (document, query) in related)
        }
        assert {tuple(pair) for pair in batch.targets.ignore.tolist()} == expected
        both += any(queries[at] in tiny.ANSWERS for at, _ in expected)
    assert both


def test_a_batch_is_the_same_whenever_it_is_made(workshop, begun) -> None:
    path = workshop / "recipe.toml"
    batches, _ = opened(begun, path)
    later = batches.make(4)
    again = opened(begun, path)[0].make(4)
    assert told(later) == told(again)
    assert later.targets.owners.tolist() == again.targets.owners.tolist()
    assert told(batches.make(3)) != told(later)
    assert batches.make(4).tokens == sum(map(len, [*later.queries, *later.documents]))


@pytest.mark.parametrize("teacher", [False, True])
def test_processes_share_the_batch_of_one(workshop, begun, monkeypatch, teacher: bool) -> None:
    path, vectors = workshop / "recipe.toml", None
    if teacher:
        path = tiny.write_recipe(
            workshop, "shared", ("negatives = 1", ""), ("[optimizer]", '[teacher]\nmodel = "x"\nbank = 5\n[optimizer]')
        )
        vectors = coded(workshop, len(tiny.QUESTIONS) + len(tiny.LEFT))
    batches, _ = opened(begun, path, vectors=vectors)
    small, _ = opened(begun, tiny.write_recipe(workshop, "small", ("size = 8", "size = 2")))
    whole = batches.make(2)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "world", lambda: 3)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(batches.make(2))
    assert [ids for part in parts for ids in told(part)[0]] == told(whole)[0]
    assert sorted(ids for part in parts for ids in told(part)[1]) == sorted(told(whole)[1])
    for part in parts:  # all know the targets of the whole batch
        assert part.targets.query_keys.tolist() == whole.targets.query_keys.tolist()
        assert sorted(part.targets.document_keys.tolist()) == sorted(whole.targets.document_keys.tolist())
        assert len(part.targets.ignore) == len(whole.targets.ignore)
    if teacher:
        assert sum(len(part.vectors) for part in parts) == len(whole.vectors) == 8 + 5
        assert np.array_equal(
            np.sort(np.concatenate([part.vectors for part in parts])[:, 0]), np.sort(whole.vectors[:, 0])
        )
    with pytest.raises(InputError, match="step 1 has 2 pairs for 3 processes"):
        small.make(0)


def coded(folder: Path, count: int) -> Vectors:
    """Vectors that tell their own number."""
    vectors = np.repeat(np.arange(count, dtype=np.float16)[:, None], 4, axis=1)
    job = Workspace(folder).job("coded", rows=count, size=5, suffix=".npy", settings={}, inputs={})
    job.run(lambda shard, file: np.save(file, vectors[shard.start : shard.stop]))
    return Vectors(job)


def test_a_teachers_vectors_are_those_of_the_texts(workshop, begun) -> None:
    path = tiny.write_recipe(
        workshop, "taught", ("negatives = 1", ""), ("[optimizer]", '[teacher]\nmodel = "x"\nbank = 5\n[optimizer]'),
    )  # fmt: skip
    batches, _ = opened(begun, path, vectors=coded(workshop, len(tiny.QUESTIONS) + len(tiny.LEFT)))
    texts = [*tiny.QUESTIONS, *tiny.LEFT]  # in the order of the dataset
    others = [*tiny.ANSWERS, *tiny.RIGHT]
    known: dict[Ids, str] = {}
    for sentence in (tiny.INSTRUCTION, tiny.OWN, *tiny.SYMMETRIC):
        known |= prepared(begun, texts + others, INSTRUCT.prefix("query", sentence))
    known |= prepared(begun, texts + others, "")
    of_queries = []
    for step in range(6):
        batch = batches.make(step)
        assert batch.vectors is not None
        assert not batch.documents
        for ids, vector in zip(told(batch)[0], batch.vectors, strict=False):
            number, text = int(vector[0]), known[ids]
            of_queries.append(text == texts[number])
            assert text in (texts[number], others[number]) or (number, tiny.ANSWERS.index(text)) in tiny.SECOND
        keys = batch.targets.document_keys.tolist()
        assert keys[:8] == batch.targets.query_keys.tolist()
        same = {int(vector[0]): key for vector, key in zip(batch.vectors, keys, strict=True)}
        assert [same[int(vector[0])] for vector in batch.vectors] == keys  # one key for one text
    assert 0.05 < np.mean(of_queries) < 0.5  # query_share


def test_a_share_of_the_steps_learns_from_the_teacher(workshop, begun) -> None:
    teacher = '[teacher]\nmodel = "x"\nshare = 0.4\n[optimizer]'
    path = tiny.write_recipe(
        workshop, "mixed", ("[optimizer]", teacher), ("steps = 6", "steps = 60"),
        ('sources = ["qa"]', 'sources = ["qa"]\ntaught = false'),
        ('sources = ["parallel"]', 'sources = ["parallel"]\ntaught = true'),
    )  # fmt: skip
    batches, _ = opened(begun, path, vectors=coded(workshop, len(tiny.QUESTIONS) + len(tiny.LEFT)))
    made = [batches.make(step) for step in range(60)]
    taught = [batch.vectors is not None for batch in made]
    assert 10 < sum(taught) < 40
    for batch in made:
        assert all(("parallel" in group) == (batch.vectors is not None) for group in batch.groups)
    # Of each kind's own examples none comes again before all have come: 12 pairs, 4 in each part of a batch.
    firsts = [batch.targets.query_keys.tolist() for batch in made if batch.vectors is not None]
    assert len({key for keys in firsts[:2] for key in keys}) >= 12
    with pytest.raises(InputError, match="no entry of data with a weight serves the steps that contrast pairs"):
        read_recipe(
            tiny.write_recipe(workshop, "none", ("[optimizer]", teacher), ("[[data]]", "[[data]]\ntaught = true"))
        )


def test_teacher_scores_are_whole_or_an_error(workshop, begun, tmp_path) -> None:
    changes = (
        ('sources = ["parallel"]', 'sources = ["qa"]\nweight = 0'), ("temperature = 0.05", "distillation = 1"),
        ("parts = 2", "parts = 1"),
    )  # fmt: skip
    for name, scored in (("all", 4), ("some", 1)):
        tiny.workshop(tmp_path / name)
        (tmp_path / name / "data").rename(tmp_path / name / "unscored")
        tiny.write_data(tmp_path / name / "data", scored=scored)
    batches, _ = opened(begun, tiny.write_recipe(tmp_path / "all", "r", *changes))
    targets = batches.make(0).targets
    scored = {
        tuple(pair): score
        for pair, score in zip(targets.teacher_pairs.tolist(), targets.teacher_scores.tolist(), strict=True)
    }
    for query in set(targets.teacher_pairs[:, 0].tolist()):
        assert scored[query, query] in (5.0, 2.0)  # 2 for a second answer
        (hard,) = (targets.owners == query).nonzero()[:, 0].tolist()
        assert scored[query, hard] in (4.0, 3.0)
    assert len(scored) >= 12
    batches, _ = opened(begun, tiny.write_recipe(tmp_path / "some", "r", *changes))
    with pytest.raises(InputError, match="source qa has teacher scores for some of its documents only"):
        batches.make(0)
    # Without distillation nobody asks for scores.
    batches, _ = opened(begun, tiny.write_recipe(tmp_path / "some", "plain"))
    assert not len(batches.make(0).targets.teacher_pairs)


def test_instructions_that_cannot_be_used_are_an_error(workshop, begun) -> None:
    with pytest.raises(InputError, match="prompts have the style prefix"):
        opened(begun, workshop / "recipe.toml", E5_PREFIX)
    wrong = tiny.write_recipe(workshop, "task", (tiny.INSTRUCTION, "web-serch"))
    with pytest.raises(InputError, match="did you mean web-search"):
        opened(begun, wrong)
    path = tiny.write_recipe(
        workshop, "long", (tiny.INSTRUCTION, "many words " * 200), ('["parallel"]', '["parallel"]\nweight = 0')
    )
    batches, _ = opened(begun, path)
    with pytest.raises(InputError, match=r"a prompt has \d+ tokens, the model reads 128"):
        batches.make(0)
