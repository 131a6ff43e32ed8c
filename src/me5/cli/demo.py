"""`me5 demo`: the model card's example, answered offline by the bundled model."""

from time import perf_counter

from me5.catalog import BUNDLED, CARD_DOCUMENTS, CARD_QUERIES, CARD_TASK, FLAGSHIP
from me5.cli import options, output
from me5.cli.score import print_table


@options.with_model(without=("max_tokens", "truncation", "prompts"))
def demo(model: options.ModelOptions, quiet: options.Quiet = False) -> None:
    """Answer the model card's example: an English and a Chinese query, each against two documents.

    \b
    me5 demo
    me5 demo --model intfloat/multilingual-e5-large-instruct
    """
    embedder = model.open(quiet=quiet)
    task = CARD_TASK if embedder.prompts.style == "instruct" else None
    started = perf_counter()
    queries = embedder.encode_query(CARD_QUERIES, task=task)
    documents = embedder.encode_document(CARD_DOCUMENTS)
    milliseconds = 1000 * (perf_counter() - started)
    scores = embedder.similarity(queries, documents) * 100
    print_table(CARD_QUERIES, CARD_DOCUMENTS, scores)
    if quiet:
        return
    output.print_line("Scores are dot products × 100; the best document of each query is marked.")
    output.print_line("What the model read:")
    for text, prefix in ((CARD_QUERIES[0], embedder.prompts.prefix("query", task)), (CARD_DOCUMENTS[0], "")):
        prompt = prefix or embedder.prompts.prefix("document")
        output.print_line(f"  {prompt + text[:44]!r}{'' if len(text) < 44 else ' …'}")
    output.print_line(
        f"{embedder.checkpoint.name}, {embedder.precision}: 4 texts in {milliseconds:.0f} ms on this machine"
    )
    if embedder.checkpoint.name == BUNDLED:
        output.print_line(f"{BUNDLED} is small. For quality, where the hub can be reached: me5 demo --model {FLAGSHIP}")
