"""Taking the backbone away: one safetensors file under torchvision's key names, with all it takes to use it.

    from safetensors.torch import load_file  # anywhere, without this package
    net = torchvision.models.resnet18()  # for width 64, blocks (2, 2, 2, 2), stem "imagenet"
    net.load_state_dict(load_file("backbone.safetensors"), strict=False)  # all but fc, which stays untrained

The metadata (all strings) say which network it is, how pictures are normalised, and what trained it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from . import checkpoint
from .backbone import ResNet
from .errors import InputError
from .views import MEAN, STD

if TYPE_CHECKING:
    from .train import Run

FORMAT = "mnclglf_lite backbone 1"


def export_backbone(run: Run, path: str | Path) -> Path:
    """Write a run's backbone, whole or not at all; a file that is already there is replaced.

    Raises InputError for a name that does not end in .safetensors.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"a backbone is a .safetensors file; got {path.name!r}, try {path.stem}.safetensors")
    net = run.backbone
    metadata = {
        "format": FORMAT,
        "width": str(net.width),
        "blocks": json.dumps(net.blocks),
        "stem": net.stem,
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        "recipe": json.dumps(run.recipe.to_dict()),
        "seed": str(run.recipe.seed),
        "steps": str(run.step),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_atomically(path, save(tensors, metadata))
    return path


def load_backbone(path: str | Path) -> ResNet:
    """The network of an exported file, on the CPU, in eval mode, its weights channels-last as in training.

    Raises InputError where there is no such file, or it is not one that `export_backbone` wrote.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}; to write one: mnclglf-lite export FOLDER {path.name}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}); export it again") from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} says its format is {metadata.get('format')!r}, expected {FORMAT!r}: another program or version "
            "wrote it; safetensors.torch.load_file reads its tensors"
        )
    try:
        net = ResNet(int(metadata["width"]), json.loads(metadata["blocks"]), metadata["stem"])
        net = net.to(memory_format=torch.channels_last)  # another layout rounds its sums differently
        net.load_state_dict(tensors)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} does not hold the backbone its metadata describe: {error}") from error
    return net.eval()
