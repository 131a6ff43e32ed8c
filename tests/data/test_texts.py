"""Texts by row, in any order."""

import numpy as np
import planted

from me5.data.jobs import Workspace
from me5.data.letters import text_key
from me5.data.texts import lay_out


def test_texts_come_by_row(tmp_path):
    examples = [planted.example(f"{n} q", f"{n} d", title=f"t{n}", lang="de", instruction="Find.") for n in range(30)]
    data = planted.dataset(tmp_path / "data", examples)
    work = Workspace(tmp_path / "job")
    documents, queries = lay_out(data, "documents", work), lay_out(data, "queries", work)
    assert (len(documents), len(queries)) == (30, 30)
    assert documents.documents([29, 3]) == [examples[29].document, examples[3].document]
    assert queries.queries(np.array([7])) == [examples[7].query]
    assert documents.keys[4] == text_key("4 d")
    assert documents.head_keys[4] == text_key("T4!")
    assert data.languages("documents").tolist() == ["de"] * 30
