"""Explorers: see and steer crops, losses, queues, training and embeddings in JupyterLab. One folder per explorer.

    crops/          where the crops of a view fall, and what is seen of an image        CropExplorer
    patches/        a view cut into patches whose embeddings are averaged               CombineExplorer
    loss/           every similarity of a batch, and what a loss makes of it            LossExplorer
    memory_queue/   nearest neighbours in a queue, step by step                         QueueExplorer
    networks/       one step of a method as a diagram, traced while it runs             NetworkDiagram
    training/       loss, learning rate and kNN accuracy while a run trains             TrainingBoard
    embedding/      UMAP, t-SNE and PCA maps; also a page of their own                  EmbeddingMap
    runs/           finished runs side by side                                          RunComparer
    shell.py        what the widgets share: sliders, places on a figure, words, figure

In each folder: what is computed, the figure, the words, and `widget.py`, a thin shell with no computation. The eight classes
need ipywidgets and anywidget (`pip install "mnclglf-lite[notebooks]"`) and are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from .crops.widget import CropExplorer
    from .embedding.widget import EmbeddingMap
    from .loss.widget import LossExplorer
    from .memory_queue.widget import QueueExplorer
    from .networks.widget import NetworkDiagram
    from .patches.widget import CombineExplorer
    from .runs.widget import RunComparer
    from .training.widget import TrainingBoard

__all__ = [
    "CombineExplorer", "CropExplorer", "EmbeddingMap", "LossExplorer", "NetworkDiagram", "QueueExplorer", "RunComparer",
    "TrainingBoard",
]  # fmt: skip
FOLDERS = {
    "CombineExplorer": "patches", "CropExplorer": "crops", "EmbeddingMap": "embedding", "LossExplorer": "loss",
    "NetworkDiagram": "networks", "QueueExplorer": "memory_queue", "RunComparer": "runs", "TrainingBoard": "training",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in FOLDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import anywidget  # noqa: F401
        import ipywidgets  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the explorers need ipywidgets and anywidget ({error}): "
            "`pip install ipywidgets anywidget`, then restart the kernel"
        ) from error
    return getattr(importlib.import_module(f".{FOLDERS[name]}.widget", __name__), name)


def __dir__() -> list[str]:
    return __all__
