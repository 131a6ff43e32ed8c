"""A Prometheus histogram that takes many values at once: a request brings up to thousands of texts."""

from collections.abc import Iterable, Sequence

import numpy as np
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Bulk(Collector):
    """A histogram without labels; `bounds` are the upper ends of its buckets, each included."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = np.array(bounds, np.float64)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0

    def observe(self, values: Sequence[float], times: int = 1) -> None:
        """Count every value, `times` times."""
        buckets = np.searchsorted(self._bounds, values, side="left")
        self._counts += times * np.bincount(buckets, minlength=len(self._counts))
        self._sum += times * float(sum(values))

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        bounds = [*(format(bound, "g") for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, self._counts.cumsum().tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)
