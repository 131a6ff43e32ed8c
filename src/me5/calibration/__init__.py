"""Calibration: what a cosine means, as a probability learned from labelled pairs, or beside pairs drawn at random.

    pairs with labels ─ cosines ─ fitting, judging, risk ─ Calibration ─ beside a checkpoint, or in a store
    a store's own passages ─ cosines of random pairs ─ Background ─ in the store
    cosine ─ Calibration, Background ─ probability, percentile

`curve`, `bound`, `applied`, `background` and `stored` apply one and need numpy alone; the others make one, with the
extra `eval`.
"""
