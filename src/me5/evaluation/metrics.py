"""Retrieval figures by query, computed by trec_eval through ir-measures, under mteb's names."""

from collections.abc import Mapping

import ir_measures
from ir_measures import AP, RR, P, R, Success, nDCG

from me5.evaluation.exact import Ranking

DEPTHS = (1, 3, 5, 10, 20, 100, 1000)
_NAMES = {
    **{nDCG @ k: f"ndcg_at_{k}" for k in DEPTHS},
    **{AP @ k: f"map_at_{k}" for k in DEPTHS},
    **{R @ k: f"recall_at_{k}" for k in DEPTHS},
    **{P @ k: f"precision_at_{k}" for k in DEPTHS},
    **{Success @ k: f"hit_rate_at_{k}" for k in DEPTHS},
}


def by_query(relevant: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking]) -> dict[str, dict[str, float]]:
    """Figure -> query id -> value, for every query of `relevant`; one that found nothing has zeros."""
    values = {name: dict.fromkeys(relevant, 0.0) for name in _NAMES.values()}
    first = dict.fromkeys(relevant, 0.0)
    for metric in ir_measures.iter_calc([*_NAMES, RR], relevant, run):
        of_query = first if metric.measure == RR else values[_NAMES[metric.measure]]
        of_query[metric.query_id] = float(metric.value)
    # RR with a cutoff is computed by another tool than trec_eval, which breaks ties the other way: cut it here.
    for k in DEPTHS:
        values[f"mrr_at_{k}"] = {query: value if value * k >= 1 - 1e-9 else 0.0 for query, value in first.items()}
    return values
