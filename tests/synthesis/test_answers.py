"""What of a chat model's answers becomes data, and why the rest does not."""

import json
import random
import re
from collections import Counter
from itertools import product

import planted_words
import pytest
from chatserver import GERMAN, prompt_of, sentence, well

from me5.data.checking import check
from me5.data.contract import Document
from me5.data.dataset import Dataset
from me5.errors import InputError
from me5.prompts import TASKS
from me5.synthesis.forms import FORMS, RefusedError, parse, schema_of
from me5.synthesis.judging import Judging
from me5.synthesis.kinds import KINDS, QUESTION_TASK
from me5.synthesis.planning import Plan, QuestionPlan
from me5.synthesis.requests import Manners
from me5.synthesis.templates import Templates


def lines(dataset: Dataset, name="refused.jsonl"):
    return [json.loads(line) for line in (dataset.folder / name).read_text("utf-8").splitlines()]


def changed(body, draw, **values):
    """A good answer with other values where it has their keys."""
    answer = well(body, draw)
    return {key: values.get(key, value) for key, value in answer.items()}


def test_good_answers_become_examples_with_their_tasks(run, chat):
    result = run(plan=Plan(60, languages=("en",)), licence="CC0-1.0")
    checked = check(result.dataset)
    kinds = [kind for kind in KINDS if kind != "bitext"]
    assert set(checked.sources) == {f"synthetic-{kind}" for kind in kinds}
    assert set(checked.licences) == {"CC0-1.0"}
    assert (checked.unrelated, checked.unanswered) == (0, 0)
    tasks = {query.instruction for query in result.dataset.queries()}
    assert TASKS["sts"] in tasks
    assert len(tasks) > 10
    assert all(query.lang == "en" for query in result.dataset.queries())
    total = result.report.total
    assert (total.kept, total.good) == (60, 60)
    assert not total.refused - Counter(repeated=1000)
    step = result.dataset.steps[0]
    assert step["prompts"] == Templates.load().hashes()
    assert step["model"]["name"] == "stand-in"
    assert step["answers"] == total.answers
    negatives = result.dataset.counts["negative"]
    assert negatives == sum(
        line.good
        for line in result.report.lines
        if line.kind in ("short-long", "long-short", "similarity") and line.language != "tasks"
    )
    assert total.tokens_in + total.tokens_out == sum(line.tokens_in + line.tokens_out for line in result.report.lines)


def test_examples_vary_as_they_were_drawn(run, chat):
    """Queries and documents in two languages, also in one example, and every kind of query."""
    plan = Plan(120, kinds=("short-long", "bitext"), languages=("en", "fr"), cross_lingual=0.5)
    task = {"tasks": ["Given a word, retrieve its meaning"]}
    chat.answer = lambda body, draw: task if "Think" in prompt_of(body) else {}
    with pytest.raises(InputError, match="none of"):
        run(plan=plan)
    prompts = [prompt_of(body) for body in chat.bodies]
    for value in KINDS["short-long"].attributes["query_length"]:
        assert any(value in prompt for prompt in prompts)
    found = Counter(
        tuple(re.findall(r"in (English|French)", prompt))[:2] for prompt in prompts if "user_query" in prompt
    )  # fmt: skip
    assert set(found) == set(product(("English", "French"), repeat=2))
    translations = {tuple(re.findall(r"in (English|French)", prompt))[:2] for prompt in prompts if "S1" in prompt}
    assert translations == {("English", "French"), ("French", "English")}


BAD = {
    "no JSON": lambda body, draw: "I would be glad to help! Here you are: {",
    "another form": lambda body, draw: json.dumps({**well(body, draw), "comment": "done"}),
    "empty text": lambda body, draw: json.dumps(changed(body, draw, positive_document=" ", label="", S2="\n")),
    "texts repeat each other": lambda body, draw: json.dumps(
        changed(body, draw, S1="The same.", S2="the same", user_query="Same", positive_document="same", input="SAME",
                input_text="Same!", label="same")
    ),
    "another language": lambda body, draw: json.dumps(
        changed(body, draw, user_query=GERMAN, input=GERMAN, input_text=GERMAN, S1=GERMAN)
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD)
def test_bad_answers_are_kept_aside_with_the_reason(run, chat, tmp_path, reason):
    """Every third example is bad."""
    bad = []

    def fault(number, body):
        if "tasks" in prompt_of(body)[:40] or number % 3:
            return None
        bad.append(number)
        return BAD[reason](body, random.Random(number))

    chat.fault = fault
    result = run()
    total = result.report.total
    assert total.refused[reason] == len(bad) > 5
    assert total.kept == 30 - len(bad)
    aside = [line for line in lines(result.dataset) if line["reason"] == reason]
    assert len(aside) == len(bad)
    assert all(line["answer"] and line["key"] and line["kind"] in KINDS for line in aside)


def test_labels_that_the_text_names_are_refused(run, chat):
    chat.answer = lambda body, draw: changed(body, draw, input_text="I felt real Anger that day.", label="anger")
    with pytest.raises(InputError, match=r"none of .* answers .*label in the text.*refused\.jsonl"):
        run(plan=Plan(3, kinds=("long-short",), languages=("en",)))


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": None, "refusal": "I cannot help with that"}, "stop", "the model refuses"),
        ({"content": ""}, "content_filter", "the model refuses"),
        ({"content": '{"S1": "half a'}, "length", "cut off"),
        ({"content": '{"S1": "half \\ud800", "S2": "b", "S3": "c"}'}, "stop", "no JSON"),
        ({"content": '{"S1": 1, "S2": "b", "S3": "c"}'}, "stop", "another form"),
        ({"content": '{"S1": "a", "S2": "b"}'}, "stop", "another form"),
        ({"content": '["a"]'}, "stop", "another form"),
        ({"content": "no \ud800 text"}, "stop", "no JSON"),
    ],
)
def test_what_a_model_says_instead(run, chat, message, finish, reason):
    seen = []

    def fault(number, body):
        if '"S1"' not in prompt_of(body) or seen:
            return None
        seen.append(number)
        return {"body": {"choices": [{"message": message, "finish_reason": finish}]}}

    chat.fault = fault
    assert run().report.total.refused[reason] == 1


def test_json_in_a_fence_is_json():
    answer = '{"tasks": ["a"]}'
    assert (
        parse("tasks", f"```json\n{answer}\n```")
        == parse("tasks", f"\n{answer} ")
        == parse("tasks", f"```\n{answer}\n```\n")
    )
    with pytest.raises(RefusedError, match="no JSON"):
        parse("tasks", f"Here: ```json\n{answer}\n```")


def test_schemas_are_closed_as_servers_demand():
    for form in FORMS:
        schema = json.loads(schema_of(form))
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) == set(schema["properties"])
        assert all("title" not in value for value in schema["properties"].values())


def test_repeated_tasks_and_texts_go_also_near_ones(run, chat):
    fixed = ["Given a riddle about farm animals, retrieve the animal", "Given a poem, retrieve poems by the same poet"]

    def answer(body, draw):
        made = well(body, draw)
        if "tasks" in made:
            return {
                "tasks": [
                    *fixed,
                    fixed[0].upper(),
                    f"{fixed[0]}s",
                    "Nothing",
                    "Was soll denn hier bitte gesucht werden können?",
                ]
            }
        if "input" in made:
            where = draw.randrange(3)
            return {
                "input": f"What stands on four legs and moos in the stable all day long{'!' * where}",
                "positive_document": "a cow",
            }
        return made

    chat.answer = answer
    result = run(plan=Plan(9, kinds=("short-short",), languages=("en",)))
    told = {query.instruction for query in result.dataset.queries()}
    assert told == set(fixed)
    of_tasks, of_examples = result.report.lines
    assert (of_tasks.refused["repeated"], of_tasks.refused["no task"], of_tasks.refused["another language"]) == (
        2,
        1,
        1,
    )
    assert (of_examples.good, of_examples.kept, of_examples.refused["repeated"]) == (9, 2, 7)


def test_evaluation_texts_are_taken_out(run, chat, tmp_path):
    first = run()
    some = next(query.text for query in first.dataset.queries())
    (tmp_path / "held-out.txt").write_text(f"{some}\n", encoding="utf-8")
    second = run("clean", evaluation=(tmp_path / "held-out.txt",))
    assert second.report.total.refused["in an evaluation set"] == 1
    assert some not in {query.text for query in second.dataset.queries()}
    assert [step["step"] for step in second.dataset.steps] == ["synthesize", "deduplicate", "decontaminate", "judge"]


def test_a_model_judges_pairs_and_negatives(run, chat):
    """A positive that no word leads to goes; a negative that says all of the query is no negative."""
    seen = []

    def answer(body, draw):
        made = well(body, draw)
        if "user_query" in made:
            seen.append(prompt_of(body))
            made["positive_document"] = f"{made['user_query']} {sentence(draw)}"
            if len(seen) == 3:
                made["positive_document"] = "Completely unrelated words about nothing whatever, written here."
            if len(seen) == 5:
                made["hard_negative_document"] = f"{made['user_query']} indeed"
        return made

    chat.answer = answer
    plan = Plan(20, kinds=("short-long",), languages=("en",))
    result = run(plan=plan, teacher=planted_words.CommonWords(), judging=Judging(top=2))
    total = result.report.total
    assert (total.refused["not found by its query"], total.kept) == (1, 19)
    assert (total.suspected, total.negatives) == (1, 18)
    assert result.dataset.counts["ignore"] == 1
    whole = run("whole", plan=plan, replay=True)
    assert (whole.report.total.kept, whole.dataset.counts["ignore"]) == (20, 0)
    with pytest.raises(InputError, match="top must lie between"):
        Judging(top=0)


def test_a_replay_is_the_same_to_the_last_bit(run, chat, tmp_path):
    chat.fault = lambda number, body: {6: "Sorry, no.", 9: 500, 12: json.dumps({"S1": "a"})}.get(number)
    first = run(plan=Plan(40, languages=("en", "fr")))
    log = tmp_path / "job" / "answers" / "answers.jsonl"
    shuffled = tmp_path / "other" / "answers" / "answers.jsonl"
    shuffled.parent.mkdir(parents=True)
    shuffled.write_bytes(b"".join(reversed(log.read_bytes().splitlines(keepends=True))))
    asked = sum(chat.asked.values())
    second = run("second", job="other", replay=True, plan=Plan(40, languages=("en", "fr")))
    assert sum(chat.asked.values()) == asked
    names = sorted(path.name for path in first.dataset.folder.iterdir())
    assert {"refused.jsonl", "report.json", "report.md", "dataset.json"} < set(names)
    for name in names:
        assert (first.dataset.folder / name).read_bytes() == (second.dataset.folder / name).read_bytes(), name


def test_a_larger_plan_asks_for_the_difference(run, chat):
    run(plan=Plan(30, kinds=("similarity",), languages=("en",)))
    assert sum(chat.asked.values()) == 30
    run(plan=Plan(50, kinds=("similarity",), languages=("en",)))
    assert sum(chat.asked.values()) == 50
    assert max(chat.asked.values()) == 1


def test_prompts_can_be_changed(run, chat, tmp_path):
    folder = tmp_path / "prompts"
    Templates.load().write(folder)
    for path in folder.glob("*.txt"):
        if path.name not in ("similarity.example.txt", "system.txt"):
            path.unlink()
    (folder / "system.txt").write_text("Be brief.")
    (folder / "similarity.example.txt").write_text('Three texts for $$5 in $language: "S1", "S2", "S3".')
    templates = Templates.load(folder)
    result = run(plan=Plan(3, kinds=("similarity",), languages=("en",)), templates=templates)
    assert [message["content"] for message in chat.bodies[0]["messages"]] == [
        "Be brief.", 'Three texts for $5 in English: "S1", "S2", "S3".',
    ]  # fmt: skip
    ours, theirs = Templates.load().hashes(), result.dataset.steps[0]["prompts"]
    assert {name for name in ours if ours[name] != theirs[name]} == {"similarity.example.txt", "system.txt"}
    (folder / "system.txt").write_text("In $tongue.")
    with pytest.raises(InputError, match=r"placeholder \$tongue"):
        Templates.load(folder)
    (folder / "system.txt").write_text("It costs 5$.")
    with pytest.raises(InputError, match=r"write \$\$"):
        Templates.load(folder)
    (folder / "system.txt").rename(folder / "systm.txt")
    with pytest.raises(InputError, match="not a prompt of ours"):
        Templates.load(folder)


def test_plans_follow_the_published_shares():
    assert Plan(507).numbers() == {kind: KINDS[kind].share for kind in KINDS}
    assert sum(Plan(1000).numbers().values()) == 1000
    assert round(Plan(1).weights["en"], 1) == 43.1
    assert round(sum(Plan(1).weights.values())) == 100
    assert len(Plan(1).weights) == 90
    assert dict(Plan(1, languages=("German", "ja")).weights) == {"de": 1.0, "ja": 1.0}
    for wrong in (
        {"kinds": ("long",)}, {"languages": ("Klingon",)}, {"per_task": 0},
        {"kinds": ("bitext",), "languages": ("de",)},
    ):  # fmt: skip
        with pytest.raises(InputError):
            Plan(10, **wrong)


PASSAGES = tuple(
    Document(f"{' '.join(sentence(random.Random(n + m)) for m in range(0, 300, 100))}", f"Page {n}", "en")
    for n in range(8)
)


def test_questions_about_passages(run, chat):
    def answer(body, draw):
        made = well(body, draw)
        if number := len(chat.bodies) % 3:
            made["questions"][0]["quote"] = "words that stand nowhere" if number == 1 else made["questions"][0]["quote"]
        return made

    chat.answer = answer
    short = Document("Too short.", "", "en")
    plan = QuestionPlan((*PASSAGES, short), ("en", "de"), 2)
    result = run(plan=plan, manners=Manners(at_once=1))
    total = result.report.total
    assert (total.requests, total.good) == (
        16,
        32 - total.refused["not in the passage"] - total.refused["another language"],
    )
    assert total.refused["not in the passage"] >= 5
    assert result.dataset.counts["documents"] == 9, "what nobody asks about can still be mined"
    assert {query.instruction for query in result.dataset.queries()} == {QUESTION_TASK}
    assert set(check(result.dataset).sources) == {"synthetic-questions"}
    assert sum("too short" in prompt_of(body).lower() for body in chat.bodies) == 0
    before = sum(chat.asked.values())
    some = run("some", plan=QuestionPlan(PASSAGES, ("en",), 2, examples=3))
    assert (some.report.total.requests, sum(chat.asked.values())) == (3, before)
