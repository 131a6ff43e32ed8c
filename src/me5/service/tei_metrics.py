"""The same observations under the metric names of Text Embeddings Inference, for its dashboards and alerts.

TEI writes counters without `_total`, and counts texts (`te_embed_…`) beside requests (`te_request_…`). Its
`te_predict_…` belong to classifiers and rerankers; a TEI that serves an embedding model has none either.
"""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from me5.service.histogram import Bulk
from me5.service.record import STAGES, RequestRecord

# As TEI sets them: 35 steps of 1.5 from 15 microseconds, and powers of two.
SECONDS = tuple(0.00001 * 1.5**step for step in range(1, 36))
POWERS = tuple(2**step for step in range(21))
# These do not run the model.
UNCOUNTED = frozenset({"/tokenize", "/decode"})


class TeiMetrics(Collector):
    """Counts what TEI counts."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._successes: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._texts = 0
        self._durations = {
            name: Bulk(name, "As in Text Embeddings Inference, in seconds.", SECONDS)
            for unit in ("request", "embed")
            for name in (f"te_{unit}_duration", *(f"te_{unit}_{stage}_duration" for stage in STAGES))
        }
        self._lengths = Bulk("te_request_input_length", "Tokens of a text.", POWERS[:20])
        self._sizes = Bulk("te_batch_next_size", "Sequences in a batch.", POWERS[:13])
        self._tokens = Bulk("te_batch_next_tokens", "Tokens in a batch.", POWERS)

    def finished(self, record: RequestRecord) -> None:
        """Count a request that is over, if it was for vectors."""
        if record.method != "POST" or record.route in UNCOUNTED:
            return
        method = "single" if record.texts <= 1 else "batch"
        self._requests[method] += 1
        if record.error or record.status >= 400:
            self._failures[record.error or str(record.status)] += 1
            return
        self._successes[method] += 1
        self._texts += record.texts
        stages = record.stages
        seconds = {"duration": record.duration} | {f"{stage}_duration": stages.get(stage, 0.0) for stage in STAGES}
        for name, value in seconds.items():
            self._durations[f"te_request_{name}"].observe([value])
            self._durations[f"te_embed_{name}"].observe([value], times=record.texts)
        for usage in record.usage:
            self._lengths.observe(usage.tokens)

    def batch(self, sequences: int, tokens: int) -> None:
        """Count a batch that the engine ran."""
        self._sizes.observe([sequences])
        self._tokens.observe([tokens])

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        yield _counter("te_request_count", "Requests for vectors.", "method", self._requests)
        yield _counter("te_request_success", "Requests that were answered.", "method", self._successes)
        yield _counter("te_request_failure", "Requests that ended in an error.", "err", self._failures)
        yield _counter("te_embed_count", "Texts embedded.", "", Counter({"": self._texts}))
        yield _counter("te_embed_success", "Texts embedded.", "", Counter({"": self._texts}))
        for histogram in (*self._durations.values(), self._lengths, self._sizes, self._tokens):
            yield from histogram.collect()


def queue_size(requests: int) -> Metric:
    """How long the queue is, under TEI's name."""
    return GaugeMetricFamily("te_queue_size", "Requests that wait for the engine.", requests)


def _counter(name: str, documentation: str, label: str, values: "Counter[str]") -> Metric:
    # The library ends the name of every counter in `_total`; an untyped metric keeps the name, and graphs are the same.
    family = Metric(name, documentation, "unknown")
    for key, value in sorted(values.items()):
        family.add_sample(name, {label: key} if label else {}, value)
    return family
