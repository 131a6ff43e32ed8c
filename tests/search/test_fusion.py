"""Two rankings joined by their scores."""

import pytest

from me5.search import Document
from me5.search.fusion import CANDIDATES, covered, fused


def test_a_mean_of_scores_from_zero_to_one():
    cosines, words = {"a": 0.9, "b": 0.8, "c": 0.7}, {"c": 8.0, "d": 2.0}
    assert fused(cosines, words, 0.25) == pytest.approx({"c": 0.75, "a": 0.25, "d": 0.1875, "b": 0.125})
    assert list(fused(cosines, words, 0.25)) == ["c", "a", "d", "b"]


def test_the_weight_decides_between_the_two():
    cosines, words = {"a": 0.9, "b": 0.1}, {"b": 3.0, "a": 1.0}
    assert next(iter(fused(cosines, words, 1.0))) == "a"
    assert next(iter(fused(cosines, words, 0.0))) == "b"


def test_a_single_match_counts_in_full():
    """Scores that have no spread say nothing of which is better, and all were found."""
    assert fused({"a": 0.8, "b": 0.8}, {"b": 1.5}, 0.5) == pytest.approx({"b": 1.0, "a": 0.5})
    assert fused({"a": 0.8}, {}, 0.5) == {"a": 0.5}
    assert fused({}, {}, 0.5) == {}


def test_more_candidates_change_no_score():
    """What becomes 0 is the cosine of the hundredth, so that asking for more hits gives the same ones first."""
    cosines = {str(number): 0.9 - number / 1000 for number in range(3 * CANDIDATES)}
    first = dict(list(cosines.items())[:CANDIDATES])
    scores = fused(cosines, {}, 0.4)
    assert {name: scores[name] for name in first} == pytest.approx(fused(first, {}, 0.4))
    assert list(scores) == list(cosines)
    assert min(scores.values()) == 0


@pytest.mark.parametrize(
    ("question", "passages", "share"),
    [
        ("how tall is K2?", ["K2 is 8,611 metres tall. How?"], 1.0),
        ("how tall is K2?", ["Bake it.", "a tall tree"], 2 / 3),  # how, tal, all
        ("Wie lösche ich einen Branch?", ["To delete a branch, pass -d."], 4 / 13),
        ("富士山の高さは", ["富士山は日本の最高峰。"], 1 / 5),
        ("北京", ["北京是中国的首都。"], 1.0),
        ("K2", ["K2 rises."], 1.0),
        ("K2", [], 0.0),
        ("?", ["Why?"], 0.0),
        ("", ["Why?"], 0.0),
        ("ÉCOLE", ["école"], 1.0),
    ],
)
def test_how_much_of_a_question_passages_hold(question, passages, share):
    assert covered(question, passages) == pytest.approx(share)


def test_words_that_hardly_match_hardly_count():
    cosines, words = {"right": 0.9, "b": 0.5, "chance": 0.4}, {"chance": 3.0, "b": 1.0}
    assert next(iter(fused(cosines, words, 0.4))) == "chance"
    assert next(iter(fused(cosines, words, 0.4, coverage=0.1))) == "right"
    assert fused(cosines, words, 0.4, coverage=0.5) == fused(cosines, words, 0.4)
    assert fused(cosines, words, 0.4, coverage=0.0) == pytest.approx({"right": 0.4, "b": 0.08, "chance": 0.0})


def test_where_passages_are_in_other_languages_the_vectors_are_heard_of_the_words():
    cosines = {"right": 0.9, "near": 0.7, "far": 0.5}
    sure = fused(cosines, {"near": 3.0}, 0.4, foreign=True)
    assert sure == pytest.approx({"near": 0.2 + 0.6, "right": 0.4, "far": 0.0})
    chance = fused(cosines, {"chance": 3.0}, 0.4, foreign=True)
    assert chance == pytest.approx({"right": 0.4, "chance": 0.3, "near": 0.2, "far": 0.0})
    assert fused(cosines, {}, 0.4, foreign=True) == fused(cosines, {}, 0.4)


def test_a_question_in_another_language_is_not_lost_to_chance(index):
    """By words alone, common words and names that sound alike win."""
    index.add_documents({
        "branch": Document("Delete a branch on the remote: git push --delete. Delete a local one: git branch -d."),
        "merge": Document("Merging joins two branches. Resolve what conflicts, then commit the merge."),
        "log": Document("The log shows the commits of a branch, newest first."),
        "server": Document("Liechtenstein, einen Fernsehsender, entfernte Verwandte: nothing here says how."),
    })  # fmt: skip
    index.finish()
    question = "Wie lösche ich einen entfernten Branch?"
    assert index.search(question, 1, by="words")[0].source == "server"
    assert index.search(question, 1, by="vectors")[0].source == "branch"
    assert index.search(question, 1)[0].source == "branch"
    # What is asked by its name, and in the language of the store, is found by it.
    assert index.search("Fernsehsender", 1)[0].source == "server"
    assert index.search("how do I see the newest commits?", 1)[0].source == "log"
