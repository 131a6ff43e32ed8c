"""Relations as numbers."""

import numpy as np
import planted
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5.data.contract import Document, Example, Query
from me5.data.relations import number_relations
from me5.data.writing import write_dataset
from me5.errors import InputError


def test_relations_are_numbered(tmp_path):
    data = planted.dataset(
        tmp_path / "data",
        [
            planted.example("a", "one", source="x"),
            planted.example("b", "two", source="y"),
            planted.example("a", "two", "negative", source="x"),
            planted.example("a", "three", "ignore", source="y"),
        ],
    )
    relations = number_relations(data)
    assert relations.source_names == ("x", "y")
    assert relations.queries.tolist() == [0, 0, 0, 1], "those of one query stand together"
    assert relations.of(0).tolist() == [0, 1, 2]
    assert relations.of_kind(0, 0).tolist() == [0]
    assert relations.of_kind(0, 1, 2).tolist() == [1, 2]
    assert relations.of(1).tolist() == [3]


def test_scores_and_their_teachers_are_numbered(tmp_path):
    tea = Query("tea?")
    examples = [
        Example(tea, Document("A drink.")),
        Example(tea, Document("Bread."), "negative", None, -0.25, "judge"),
        Example(tea, Document("Milk."), "ignore", None, 0.5, "other"),
    ]
    relations = number_relations(write_dataset(tmp_path / "data", examples, step={}))
    np.testing.assert_array_equal(relations.scores, np.array([np.nan, -0.25, 0.5], np.float32))
    assert [relations.teacher_names[teacher] for teacher in relations.teachers] == [None, "judge", "other"]
    assert len(relations) == 3


def test_a_dataset_without_relations_has_none(tmp_path):
    relations = number_relations(write_dataset(tmp_path / "data", [Document("alone")], step={}))
    assert len(relations) == 0
    assert relations.kinds.dtype == np.int8


@pytest.mark.parametrize("name", ["f" * 24, "f" * 26, "no hex"])
@pytest.mark.parametrize("column", ["query_id", "document_id"])
def test_a_relation_to_nothing_is_an_error_that_names_it(tmp_path, column, name):
    dataset = write_dataset(tmp_path / "data", [Example(Query("a"), Document("b"))], step={})
    path = tmp_path / "data" / "relations.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, pa.array([name])), path)
    table_name = "queries" if column == "query_id" else "documents"
    with pytest.raises(InputError, match=f"{name}.*{table_name} of .*data"):
        number_relations(dataset)
