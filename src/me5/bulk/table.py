"""Records and vectors → Arrow tables: the columns that every Parquet file of vectors has, and their types."""

import json
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from me5.errors import InputError, described
from me5.quantization import bit_rows, quantized
from me5.vectors import Float32

Numbers = Literal["f32", "f16", "int8", "binary"]
NUMBERS: tuple[Numbers, ...] = get_args(Numbers)
Missing = npt.NDArray[np.bool_]


def vector_types(numbers: Numbers, dim: int) -> dict[str, Any]:
    """The Arrow types of the columns that hold the vectors."""
    import pyarrow as pa

    if numbers == "binary" and dim % 8:
        raise InputError(f"vectors of {dim} dimensions do not fill whole bytes; choose f32, f16 or int8 vectors")
    scale = {"scale": pa.float32()}
    return {
        "f32": {"vector": pa.list_(pa.float32(), dim)},
        "f16": {"vector": pa.list_(pa.float16(), dim)},
        "int8": {"vector": pa.list_(pa.int8(), dim), **scale},
        "binary": {"vector": pa.list_(pa.uint8(), dim // 8), **scale},
    }[numbers]


def vector_columns(vectors: Float32, numbers: Numbers, missing: Missing | None = None) -> dict[str, Any]:
    """Vectors (n, dim) as the columns of `vector_types`; rows that are `missing` (n,) become nulls.

    A vector is about its int8, or its signs (the first in the highest bit, set for +1), times its scale.
    """
    import pyarrow as pa

    scales: Float32 | None = None
    values: npt.NDArray[Any]
    if numbers == "int8":
        values, scales = quantized(vectors, "int8"), np.abs(vectors).max(axis=1) / np.float32(127)
    elif numbers == "binary":
        values, scales = bit_rows(vectors), np.abs(vectors).mean(axis=1)
    else:
        values = np.ascontiguousarray(vectors, np.float16 if numbers == "f16" else np.float32)
    mask = None if missing is None or not missing.any() else missing
    columns = {
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(values.ravel()), values.shape[1], mask=None if mask is None else pa.array(mask)
        )
    }
    return columns if scales is None else columns | {"scale": pa.array(scales, mask=mask)}


def column(values: Sequence[Any], kind: Any) -> tuple[Any, dict[int, str]]:
    """Values as an Arrow array of a type, and why those that do not fit became nulls, by their places.

    In a column of strings, what is not a string is written as JSON; in others, strings are what they spell, as in CSV.
    """
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_string(kind) or kinds.is_large_string(kind):
        values = [value if value is None or isinstance(value, str) else _as_json(value) for value in values]
    try:
        return pa.array(values, kind), {}
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
        pass
    fitting, wrong = [], {}
    for place, value in enumerate(values):
        try:
            fitting.append(_fitted(value, kind))
        except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
            fitting.append(None)
            wrong[place] = f"{described(value)}, expected {kind}"
    return pa.array(fitting, kind), wrong


def parquet_writer(file: IO[bytes], schema: Any, repeated: Sequence[str] = ()) -> Any:
    """A writer of Parquet; of the columns in `repeated`, equal values are written once."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(file, schema, use_dictionary=list(repeated) or False)


def inferred(values: Sequence[Any]) -> Any:
    """The Arrow type of some values of a column, a string where they have none in common."""
    import pyarrow as pa

    try:
        kind = pa.array(values).type
    except (pa.ArrowException, UnicodeEncodeError, TypeError, OverflowError):
        return pa.string()
    return pa.string() if pa.types.is_null(kind) or pa.types.is_nested(kind) else kind


def _fitted(value: Any, kind: Any) -> Any:
    import pyarrow as pa

    return (pa.scalar(value).cast(kind) if isinstance(value, str) else pa.scalar(value, kind)).as_py()


def _as_json(value: object) -> str:
    if isinstance(value, Mapping | Sequence) and not isinstance(value, bytes):
        return json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float) else str(value)
