"""The metrics: what a request and a batch add, under our names and TEI's, as a scrape shows them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from me5.service.histogram import Bulk
from me5.service.inputs import Usage
from me5.service.metrics import Metrics
from me5.service.record import RequestRecord


def scrape(metrics):
    """Every sample by name and labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples, name, **labels):
    return samples[name, frozenset(labels.items())]


def request(route="/v1/embeddings", *, status=200, error="", tokens=(), lost=(), side="document", method="POST"):
    record = RequestRecord("r1", method, route=route, status=status, error=error, duration=0.3)
    if tokens:
        lost = lost or (0,) * len(tokens)
        chunks = (1,) * len(tokens)
        record.usage.append(Usage(side, tokens, lost, chunks, 0.002, 0.02, 0.2, record.began + 0.25))
        record.serialization = 0.01
    return record


def test_a_request_adds_its_texts_tokens_and_times():
    metrics = Metrics()
    metrics.finished(request(tokens=[10, 600], lost=[0, 88]))
    samples = scrape(metrics)
    where = {"route": "/v1/embeddings", "side": "document"}
    assert value(samples, "me5_requests_total", method="POST", route="/v1/embeddings", status="200") == 1
    assert value(samples, "me5_texts_total", **where) == 2
    assert value(samples, "me5_tokens_total", **where) == 522
    assert value(samples, "me5_truncated_texts_total", **where) == 1
    assert value(samples, "me5_lost_tokens_total", **where) == 88
    assert value(samples, "me5_request_duration_seconds_sum", **where) == pytest.approx(0.3)
    for stage, seconds in {"tokenization": 0.002, "queue": 0.02, "inference": 0.2, "serialization": 0.01}.items():
        assert value(samples, "me5_stage_duration_seconds_sum", stage=stage, **where) == pytest.approx(seconds)
    assert value(samples, "me5_text_tokens_count") == 2
    assert value(samples, "me5_text_tokens_sum") == 610


def test_two_sides_in_one_request_are_told_apart():
    metrics = Metrics()
    record = request("/v1/score", tokens=[5], side="query")
    record.usage += request("/v1/score", tokens=[7, 8], side="document").usage
    metrics.finished(record)
    samples = scrape(metrics)
    assert value(samples, "me5_texts_total", route="/v1/score", side="query") == 1
    assert value(samples, "me5_texts_total", route="/v1/score", side="document") == 2
    assert value(samples, "me5_request_duration_seconds_count", route="/v1/score", side="mixed") == 1


def test_an_error_is_counted_by_kind_and_adds_no_texts():
    metrics = Metrics()
    metrics.finished(request(status=429, error="overloaded"))
    samples = scrape(metrics)
    assert value(samples, "me5_errors_total", route="/v1/embeddings", kind="overloaded") == 1
    assert value(samples, "me5_requests_total", method="POST", route="/v1/embeddings", status="429") == 1
    assert not [name for name, _ in samples if name == "me5_texts_total"]


def test_a_batch_adds_its_size_fill_and_time():
    metrics = Metrics()
    metrics.batch(sequences=3, tokens=96, cells=128, seconds=0.05)
    samples = scrape(metrics)
    assert value(samples, "me5_batch_sequences_sum") == 3
    assert value(samples, "me5_batch_tokens_sum") == 96
    assert value(samples, "me5_batch_fill_ratio_sum") == 0.75
    assert value(samples, "me5_batch_fill_ratio_bucket", le="0.7") == 0
    assert value(samples, "me5_batch_fill_ratio_bucket", le="0.8") == 1
    assert value(samples, "me5_batch_duration_seconds_sum") == 0.05
    assert value(samples, "te_batch_next_size_sum") == 3
    assert value(samples, "te_batch_next_tokens_sum") == 96


def test_tei_names_count_requests_by_method_and_texts_one_by_one():
    metrics = Metrics()
    metrics.finished(request("/embed", tokens=[4]))
    metrics.finished(request("/embed", tokens=[10, 20, 30]))
    metrics.finished(request("/embed", status=422, error="validation"))
    metrics.finished(request("/tokenize"))  # asks no model, and TEI does not count it
    metrics.finished(request("/health", method="GET"))
    samples = scrape(metrics)
    assert value(samples, "te_request_count", method="single") == 2
    assert value(samples, "te_request_count", method="batch") == 1
    assert value(samples, "te_request_success", method="single") == 1
    assert value(samples, "te_request_failure", err="validation") == 1
    assert value(samples, "te_embed_count") == value(samples, "te_embed_success") == 4
    assert value(samples, "te_request_duration_count") == 2
    assert value(samples, "te_embed_duration_count") == 4
    assert value(samples, "te_embed_duration_sum") == pytest.approx(4 * 0.3)
    assert value(samples, "te_request_inference_duration_sum") == pytest.approx(0.4)
    assert value(samples, "te_request_input_length_sum") == 64


def test_every_app_has_counters_of_its_own():
    first, second = Metrics(), Metrics()
    first.worker_restarted()
    assert value(scrape(first), "me5_worker_restarts_total") == 1
    assert value(scrape(second), "me5_worker_restarts_total") == 0


def test_names_follow_the_conventions_and_every_metric_is_told():
    metrics = Metrics()
    metrics.finished(request(tokens=[5]))
    text = metrics.render().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert set(types) == set(helps)
    for name, kind in types.items():
        if name.startswith("me5_"):
            assert (kind == "counter") == name.endswith("_total"), name
            assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)(_|$)", name), name
    assert "_created" not in text


@given(st.lists(st.lists(st.integers(0, 700), max_size=5), max_size=5), st.integers(1, 3))
def test_bulk_counts_as_the_librarys_histogram_does(groups, times):
    bounds = (1, 8, 64, 512)
    bulk = Bulk("lengths", "Lengths.", bounds)
    truth = Histogram("lengths", "Lengths.", buckets=bounds, registry=CollectorRegistry())
    for group in groups:
        bulk.observe(group, times)
        for one in np.repeat(group, times):
            truth.observe(one)

    def counts(collector):
        (family,) = collector.collect()
        shown = [sample for sample in family.samples if not sample.name.endswith("_created")]
        return {(sample.name, str(float(sample.labels.get("le", "nan")))): float(sample.value) for sample in shown}

    assert counts(bulk) == counts(truth)
