"""Explorers: see and steer crops, losses, queues, training and embeddings in JupyterLab.

Each is a thin shell over a pure function and works without a network. They need ipywidgets and anywidget
(`pip install "mnclglf-lite[notebooks]"`), which nothing else in the package does.
"""

from ..errors import InputError

try:
    import anywidget  # noqa: F401
    import ipywidgets  # noqa: F401
except ImportError as error:
    raise InputError(
        f"the explorers need ipywidgets and anywidget ({error}): `pip install ipywidgets anywidget`, then restart the kernel"
    ) from error

from .board import TrainingBoard  # noqa: E402
from .combine import CombineExplorer  # noqa: E402
from .crops import CropExplorer  # noqa: E402
from .loss import LossExplorer  # noqa: E402
from .map import EmbeddingMap  # noqa: E402
from .networks import NetworkDiagram  # noqa: E402
from .queue import QueueExplorer  # noqa: E402
from .runs import RunComparer  # noqa: E402

__all__ = [
    "CombineExplorer", "CropExplorer", "EmbeddingMap", "LossExplorer", "NetworkDiagram", "QueueExplorer", "RunComparer",
    "TrainingBoard",
]  # fmt: skip
