"""Prometheus metrics of the service in one place: what is counted, under which names, in which units.

Every app has a registry of its own. Requests are counted from their `RequestRecord` when they end, batches by the
dispatcher when they ran; depths, health and memory are read at each scrape. `tei_metrics` repeats some of it under
TEI's names.
"""

from collections.abc import Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from me5._version import __version__
from me5.service import tei_metrics
from me5.service.histogram import Bulk
from me5.service.pipeline import Pipeline
from me5.service.record import STAGES, RequestRecord

# From a short query on an idle machine (milliseconds) to a bulk request behind a full queue (minutes).
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TEXT_TOKENS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
BATCH_TOKENS = (16, 32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 4096, 8192, 16384)
BATCH_SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
FILL = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


class Metrics:
    """The metrics of one app."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "me5_requests_total", "HTTP requests that ended.", ["method", "route", "status"], registry=registry
        )
        self.errors = Counter(
            "me5_errors_total", "Requests that ended in an error, by kind.", ["route", "kind"], registry=registry
        )
        self.in_flight = Gauge("me5_requests_in_flight", "HTTP requests being answered now.", registry=registry)
        self.request_seconds = Histogram(
            "me5_request_duration_seconds", "From the request's head to the reply's last byte.", ["route", "side"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "me5_stage_duration_seconds", "Time of one stage: tokenization, queue, inference or serialization.",
            ["stage", "route", "side"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.texts = Counter("me5_texts_total", "Texts embedded.", ["route", "side"], registry=registry)
        self.tokens = Counter("me5_tokens_total", "Tokens that the model read.", ["route", "side"], registry=registry)
        self.truncated = Counter(
            "me5_truncated_texts_total", "Texts that lost tokens.", ["route", "side"], registry=registry
        )
        self.lost = Counter(
            "me5_lost_tokens_total", "Tokens that the model did not read.", ["route", "side"], registry=registry
        )
        # Names of keys are few, addresses are not: callers without a key have no series.
        self.key_requests = Counter(
            "me5_key_requests_total", "Requests of a key that ended.", ["key", "status"], registry=registry
        )
        self.key_tokens = Counter(
            "me5_key_tokens_total", "Tokens that the model read for a key.", ["key"], registry=registry
        )
        self.text_tokens = Bulk("me5_text_tokens", "Tokens of a text, prompt included, before truncation.", TEXT_TOKENS)
        self.batch_sequences = Histogram(
            "me5_batch_sequences", "Sequences in a batch.", buckets=BATCH_SEQUENCES, registry=registry
        )
        self.batch_tokens = Histogram("me5_batch_tokens", "Tokens in a batch.", buckets=BATCH_TOKENS, registry=registry)
        self.batch_fill = Histogram(
            "me5_batch_fill_ratio", "Share of a batch's cells that hold a token.", buckets=FILL, registry=registry
        )
        self.batch_seconds = Histogram(
            "me5_batch_duration_seconds", "Time of a batch in the engine.", buckets=SECONDS, registry=registry
        )
        self.restarts = Counter(
            "me5_worker_restarts_total", "Engine workers replaced after they died.", registry=registry
        )
        self.tei = tei_metrics.TeiMetrics()
        registry.register(self.text_tokens)
        registry.register(self.tei)
        registry.register(ProcessCollector(registry=None))

    def finished(self, record: RequestRecord) -> None:
        """Count a request that is over."""
        self.tei.finished(record)
        self.requests.labels(record.method, record.route, str(record.status)).inc()
        self.request_seconds.labels(record.route, record.side).observe(record.duration)
        if record.key:
            self.key_requests.labels(record.key, str(record.status)).inc()
            self.key_tokens.labels(record.key).inc(record.tokens)
        if record.error:
            self.errors.labels(record.route, record.error).inc()
        for usage in record.usage:
            labels = (record.route, usage.side)
            self.texts.labels(*labels).inc(len(usage.tokens))
            self.tokens.labels(*labels).inc(usage.tokens_read)
            self.truncated.labels(*labels).inc(usage.truncated)
            self.lost.labels(*labels).inc(usage.tokens_lost)
            self.text_tokens.observe(usage.tokens)
            for stage in STAGES:
                self.stage_seconds.labels(stage, *labels).observe(getattr(usage, stage))
        if record.serialization:
            self.stage_seconds.labels("serialization", record.route, record.side).observe(record.serialization)

    def batch(self, *, sequences: int, tokens: int, cells: int, seconds: float) -> None:
        """Count a batch that the engine ran: `tokens` in a grid of `cells`."""
        self.batch_sequences.observe(sequences)
        self.batch_tokens.observe(tokens)
        self.batch_fill.observe(tokens / cells)
        self.batch_seconds.observe(seconds)
        self.tei.batch(sequences, tokens)

    def worker_restarted(self) -> None:
        """Count a worker that was replaced."""
        self.restarts.inc()

    def watch(self, pipeline: Pipeline) -> None:
        """Read the pipeline's depths and health, and its worker's memory, at every scrape from now on."""
        self.registry.register(_Watch(pipeline))
        worker = ProcessCollector("me5_worker", pid=lambda: pipeline.worker_pid or "gone", registry=None)
        self.registry.register(worker)

    def render(self) -> bytes:
        """The body of `GET /metrics`, in Prometheus' text format."""
        return generate_latest(_Plain(self.registry))


class _Watch(Collector):
    """What is read from the pipeline at a scrape."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterable[Metric]:
        pipeline, load = self._pipeline, self._pipeline.load()
        yield GaugeMetricFamily("me5_queue_requests", "Requests that wait for the engine.", load.requests)
        yield tei_metrics.queue_size(load.requests)
        yield GaugeMetricFamily("me5_queue_tokens", "Tokens that wait for the engine.", load.tokens)
        yield GaugeMetricFamily("me5_running_tokens", "Tokens in the engine now.", load.running)
        yield GaugeMetricFamily("me5_healthy", "1 when the worker answers, else 0.", float(pipeline.healthy))
        about = {
            "model": pipeline.checkpoint.name,
            "precision": pipeline.precision,
            "dim": str(pipeline.dim),
            "max_tokens": str(pipeline.max_tokens),
            "version": __version__,
        }
        info = GaugeMetricFamily("me5_model_info", "What is served; always 1.", labels=list(about))
        info.add_metric(list(about.values()), 1)
        yield info


class _Plain(Collector):
    """A registry without the `_created` series of OpenMetrics, which double the number of series and serve no graph."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
