"""Output as a Lance dataset: the file of a part is a fragment of it, and at the end one version holds all fragments.

The job's folder is the dataset: Lance keeps its files in `data` too, and knows nothing of the others. Until the end no
version names a file, so that a reader sees all of a job or nothing.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from me5.bulk.commit import Commit
from me5.bulk.folders import Folder
from me5.bulk.job import Job
from me5.errors import InputError


def add(folder: Folder, name: str, table: Path) -> Any:
    """Write the rows of a Parquet file as a Lance file, and return what describes it as a fragment, as JSON.

    `table` must lie in a folder of its own, in which the file is made before it goes to the job's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from lance.fragment import LanceFragment

    made = table.parent / "lance"
    with pq.ParquetFile(table) as source:
        rows = pa.RecordBatchReader.from_batches(source.schema_arrow, source.iter_batches())
        described = LanceFragment.create(str(made), rows, fragment_id=0).to_json()
    (file,) = described["files"]
    with (made / "data" / file["path"]).open("rb") as content, folder.writing(name) as target:
        shutil.copyfileobj(content, target, 1 << 20)
    file["path"] = PurePosixPath(name).name
    return described


def rows_in(folder: Folder, name: str) -> int:
    """How many rows a file of the dataset has, read back. Raises `OSError` where it cannot be read."""
    from lance.file import LanceFileReader

    return int(LanceFileReader(f"{folder.url}/{name}").metadata().num_rows)


def commit(job: Job, done: Sequence[Commit]) -> None:
    """Make all parts a version of the dataset, unless its latest one is exactly that."""
    import lance
    from lance.fragment import FragmentMetadata

    url, schema = job.folder.url, job.manifest.arrow_schema()
    fragments = [
        FragmentMetadata.from_json(json.dumps({**each.fragment, "id": number})) for number, each in enumerate(done)
    ]
    wanted = [file.path for fragment in fragments for file in fragment.files]
    try:
        if _files(url) != wanted:
            lance.LanceDataset.commit(url, lance.LanceOperation.Overwrite(schema, fragments))
        if _files(url) != wanted:
            raise InputError(f"{url} was written to by another program; start a new job in another folder")
    except (OSError, ValueError) as error:
        raise InputError(f"the version of the dataset {url} cannot be written: {error}; resume the job") from error


def _files(url: str) -> list[str]:
    """The data files of the latest version, in order; none where there is no version."""
    import lance

    try:
        found = lance.dataset(url)
    except (ValueError, FileNotFoundError) as error:
        if "not found" in str(error).lower():
            return []
        raise
    return [file.path for fragment in found.get_fragments() for file in fragment.metadata.files]
