"""`me5 demo`: the model card's example, answered offline by the bundled model."""

from time import perf_counter

from me5.catalog import BUNDLED, CARD_DOCUMENTS, CARD_QUERIES, CARD_TASK, FLAGSHIP
from me5.cli import options
from me5.cli.score import print_table


def demo(
    model: options.Model = None,
    device: options.Device = "cpu",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Answer the model card's example: an English and a Chinese query, each against two documents.

    \b
    me5 demo
    me5 demo --model intfloat/multilingual-e5-large-instruct
    """
    from rich.console import Console

    embedder = options.open_embedder(model, device=device, precision=precision, threads=threads, quiet=quiet)
    task = CARD_TASK if embedder.prompts.style == "instruct" else None
    started = perf_counter()
    queries = embedder.encode_query(CARD_QUERIES, task=task)
    documents = embedder.encode_document(CARD_DOCUMENTS)
    milliseconds = 1000 * (perf_counter() - started)
    scores = embedder.similarity(queries, documents) * 100
    print_table(CARD_QUERIES, CARD_DOCUMENTS, scores)
    if quiet:
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print("Scores are dot products × 100; the best document of each query is marked.")
    console.print("What the model read:", markup=False)
    for text, prefix in ((CARD_QUERIES[0], embedder.prompts.prefix("query", task)), (CARD_DOCUMENTS[0], "")):
        prompt = prefix or embedder.prompts.prefix("document")
        console.print(f"  {prompt + text[:44]!r}{'' if len(text) < 44 else ' …'}", markup=False)
    console.print(
        f"{embedder.checkpoint.name}, {embedder.precision}: 4 texts in {milliseconds:.0f} ms on this machine",
        markup=False,
    )
    if embedder.checkpoint.name == BUNDLED:
        console.print(f"{BUNDLED} is small. For quality, where the hub can be reached: me5 demo --model {FLAGSHIP}")
