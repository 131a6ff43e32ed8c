"""A Prometheus histogram that takes many values at once: a request brings up to thousands of texts."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Bulk(Collector):
    """A histogram without labels; `bounds` are the upper ends of its buckets, each included."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = [*map(float, bounds)]
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, values: Sequence[float], times: int = 1) -> None:
        """Count every value, `times` times."""
        for value in values:  # most requests bring one: numpy took ten times as long for it
            self._counts[bisect_left(self._bounds, value)] += times
        self._sum += times * float(sum(values))

    def collect(self) -> Iterable[Metric]:
        """See `Collector`."""
        bounds = [*(format(bound, "g") for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)
