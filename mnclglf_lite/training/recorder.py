"""training.recorder: TODO."""

from __future__ import annotations

from typing import Any

from ..core.text import format_duration
from ..data import dataset
from ..data.dataset import evenly_spaced
from ..evaluation.collapse import effective_rank, feature_std
from ..evaluation.evaluate import extract_features
from ..evaluation.knn import KnnProtocol, knn
from .run import Run

# The monitor is a glance, not a result: a part of train as bank, a part of the hold-out as queries (sizes ours: about a
# second on two cores with the slim net). Results come from `evaluate`, on everything.
MONITOR = KnnProtocol(k=20, temperature=0.1)
MONITOR_BANK, MONITOR_QUERIES = 4000, 1000


def monitor(run: Run, splits: dataset.Splits) -> dict[str, float]:
    """A glance at the features: kNN of hold-out pictures among training pictures, and the collapse gauges."""
    bank, asked = evenly_spaced(splits.train, MONITOR_BANK), evenly_spaced(splits.holdout, MONITOR_QUERIES)
    known, queries = (extract_features(run.backbone, part, size=run.recipe.test_size or None) for part in (bank, asked))
    protocol = KnnProtocol(k=min(MONITOR.k, len(bank)), temperature=MONITOR.temperature)
    top = knn(known, bank.labels, queries, asked.labels, protocol, len(bank.classes))
    return {"knn": top["top1"], "spread": float(feature_std(queries)), "rank": float(effective_rank(queries))}


def format_epoch(row: dict[str, Any], left: float) -> str:
    """One epoch in one line of text, or two: what a loss is made of stands below it. Both fit into a notebook's cell."""
    parts = [f"{k.removeprefix('loss_')} {row[k]:.3f}" for k in row if k.startswith("loss_")]
    parts += [f"{k} {row[k]:.2f}" for k in ("accuracy", "agreement") if k in row]
    text = (
        f"epoch {row['epoch']:5.1f}  step {row['step']:5d}  loss {row['loss']:.3f}  "
        f"kNN {100 * row['knn']:.1f} %  spread {row['spread']:.2f}  rank {row['rank']:.1f}  "
        f"{row['images_per_second']:,.0f} images/s  {format_duration(row['seconds'])}, {format_duration(left)} left"
    )
    return "\n".join([text, *(["             " + "  ".join(parts)] if parts else [])])
