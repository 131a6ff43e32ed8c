"""A job as it lies in its folder: created once from inputs, a model and settings; opened by every worker since.

manifest.json   what is done, with which model
plan.parquet    the inputs, cut into parts
data/           a file of vectors per attempt at a part
errors/         the rows whose text could not be embedded, and why
commits/        which attempt counts; a part without a commit is still to be done
failures/       parts that were given up, and why
files.json      the files that count, when all is done; then _SUCCESS
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any

from me5.bulk import inputs, plan, table
from me5.bulk.folders import Folder
from me5.bulk.manifest import Manifest, Settings, differences, encoded_schema, model_differences
from me5.bulk.model import Model, fingerprint_of
from me5.bulk.plan import Plan
from me5.bulk.read import Record, entries
from me5.bulk.source import Source
from me5.errors import InputError, MissingExtraError
from me5.files import parquet
from me5.preprocessor import Preprocessor

MANIFEST, PLAN = "manifest.json", "plan.parquet"
# Records from which the types of kept columns are inferred.
_SAMPLE = 1000


@dataclass(frozen=True)
class Job:
    """A job: where it lies, what it does, and its parts."""

    folder: Folder
    manifest: Manifest
    plan: Plan

    @property
    def settings(self) -> Settings:
        """What the user asked for."""
        return self.manifest.settings

    def part_name(self, number: int) -> str:
        """What a part is called; names sort as their numbers do."""
        return f"part-{number:0{max(5, len(str(len(self.plan.parts) - 1)))}}"


def open_job(folder: Folder) -> Job:
    """The job in a folder. Raises `InputError` where there is none."""
    content, planned = folder.read(MANIFEST), folder.read(PLAN)
    if content is None:
        raise InputError(f"{folder.url} holds no bulk job; start one with me5 bulk INPUTS --out {folder.url}")
    if planned is None:
        raise InputError(
            f"{folder.url}/{PLAN} is gone, the list of the job's parts; start the job again in a new folder"
        )
    manifest = Manifest.from_bytes(content, f"{folder.url}/{MANIFEST}")
    job = Job(folder, manifest, plan.from_parquet(planned))
    if job.plan.fingerprint != manifest.plan:
        raise InputError(f"{folder.url}/{PLAN} is not the plan that {MANIFEST} was written for; start a new job")
    return job


def describe(folder: Folder, settings: Settings, model: Model, preprocessor: Preprocessor) -> Job:
    """A job that does not lie in its folder yet. Reads the inputs. `model` must be resolved."""
    prompt = preprocessor.prompts.prefix(settings.side, settings.task)  # a task that does not fit is refused first
    dim = model.truncate_dim or preprocessor.dim
    table.vector_types(settings.vectors, dim)
    if settings.output == "lance" and find_spec("lance") is None:
        raise MissingExtraError("Lance is not installed: pip install 'me5[lance]'")
    found = inputs.find(settings.inputs)
    planned = plan.make(found, settings.source, settings.part_texts)
    schema = _schema(settings, planned, dim)
    manifest = Manifest(
        settings=settings, model=model.to_json(), prompt=prompt, dim=dim,
        fingerprint=fingerprint_of(preprocessor, model.precision, settings.task, model.truncate_dim),
        plan=planned.fingerprint, parts=len(planned.parts), texts=planned.texts,
        columns={field.name: str(field.type) for field in schema}, schema=encoded_schema(schema),
    )  # fmt: skip
    return Job(folder, manifest, planned)


def create(job: Job) -> Job:
    """Put a described job into its folder; of several processes that do, one wins, and all get its job."""
    folder = job.folder
    if folder.read(MANIFEST) is None:
        folder.write_once(PLAN, plan.to_parquet(job.plan))
        folder.write_once(MANIFEST, job.manifest.to_bytes())
    made = open_job(folder)
    check_same(made, job.settings, job.manifest.model, job.manifest.fingerprint)
    return made


def check_same(job: Job, settings: Settings, model: Any, fingerprint: str) -> None:
    """Raise `InputError` that says in what a job differs from what is asked for now."""
    differing = differences(job.settings, settings) + model_differences(job.manifest.model, model)
    if not differing and fingerprint != job.manifest.fingerprint:
        differing = ["the files of the model"]
    if differing:
        raise InputError(
            f"{job.folder.url} holds a job with other settings: {', '.join(differing)}. Repeat it as it was with me5 "
            f"bulk resume {job.folder.url}, or choose another folder"
        )


def check_inputs(job: Job, found: Sequence[inputs.Input] | None = None) -> None:
    """Raise `InputError` unless the inputs are what they were; with `found`, unless there are no others either."""
    planned = job.plan.files
    files = [inputs.look(name) for name in planned] if found is None else found
    now = {file.name: file.version for file in files}
    wrong = [
        f"{name} {'is new' if name not in planned else 'is gone' if name not in now else 'has changed'}"
        for name in sorted({*planned, *now}) if planned.get(name) != now.get(name)
    ]  # fmt: skip
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(
            f"the inputs of {job.folder.url} are no longer those of its plan: {', '.join(wrong[:3])}{more}. Restore "
            "them, or start a new job in another folder"
        )


def _types(source: Source) -> tuple[list[str], list[Any]]:
    """The columns of a Parquet file and the types of their values."""
    import pyarrow as pa

    assert source.path is not None
    schema = parquet.schema(source.path)
    return schema.names, [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types]


def _schema(settings: Settings, planned: Plan, dim: int) -> Any:
    """The columns of the output; types that the inputs decide are those of the first file that has fields."""
    import pyarrow as pa

    columns = {"file": pa.string(), "row": pa.int64()}
    sources = (settings.source(name) for name in planned.files)
    first = next((source for source in sources if source.format != "text"), None)
    if first is not None:
        sample = [entry for entry in islice(entries(first), _SAMPLE) if isinstance(entry, Record)]
        if settings.id_field is not None:
            columns["id"] = pa.int64() if sample and isinstance(sample[0].id, int) else pa.string()
        known = dict(zip(*_types(first), strict=True)) if first.format == "parquet" else {}
        for name in settings.keep:
            columns[name] = known.get(name) or table.inferred([record.values[name] for record in sample])
    if settings.keep_text:
        columns["text"] = pa.string()
    taken = {"file", "row", "id", "text", "vector", "scale"} & set(settings.keep)
    if taken:
        raise InputError(f"a column {sorted(taken)[0]!r} is written in any case and cannot be kept; leave it out")
    return pa.schema({**columns, **table.vector_types(settings.vectors, dim)})
