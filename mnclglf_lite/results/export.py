"""Taking a backbone away: one safetensors file under torchvision's key names, and back.

    torchvision.models.resnet18().load_state_dict(safetensors.torch.load_file(path), strict=False)

works for a backbone of width 64, blocks (2, 2, 2, 2) and stem "imagenet": only fc.weight and fc.bias are
missing.
The file's metadata say what the weights are and how images must be normalised for them. In half precision it is half as
large.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..core.errors import InputError
from ..core.files import write_atomically
from ..core.version import __version__
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe
from ..views import view

if TYPE_CHECKING:
    from ..training.run import Run

FORMAT = "mnclglf_lite backbone 1"
OURS = ("format", "width", "blocks", "stem", "mean", "std", "version")  # written by `export_backbone` itself


def export_backbone(
    backbone: ResNet, path: str | Path, metadata: Mapping[str, Any] | None = None, half: bool = False,
) -> Path:  # fmt: skip
    """Write the weights with `metadata` (values that are no strings become JSON); each file whole or not at all.

    `half`: float16 in place of float32. Returns the path. The package adds format, width, blocks, stem, the normalisation's
    mean and std, and its version.
    """
    from safetensors.torch import save

    path, metadata = Path(path), dict(metadata or {})
    if not isinstance(backbone, ResNet):
        raise InputError(f"only a mnclglf_lite ResNet can be exported; got {type(backbone).__name__}")
    if path.suffix != ".safetensors":
        raise InputError(f"the file's name must end in .safetensors; got {path.name!r}")
    if taken := [key for key in metadata if key in OURS]:
        raise InputError(f"metadata {', '.join(taken)}: the export writes these itself; use other names")
    tensors = {key: value.detach().cpu().contiguous() for key, value in backbone.state_dict().items()}
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    if broken := [key for key, value in tensors.items() if not torch.isfinite(value).all()]:
        why = "a number is too large for float16: export without half" if half else "the run diverged; export an earlier one"
        raise InputError(f"the weights {broken[0]} are not finite: {why}")
    told = {"format": FORMAT, "width": backbone.width, "blocks": backbone.blocks, "stem": backbone.stem}
    told |= {"mean": view.MEAN, "std": view.STD, "version": __version__, **metadata}
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()}
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into; create it first")
    write_atomically(path, save(tensors, text))
    return path


def export_run(run: Run, path: str | Path, half: bool = False) -> Path:
    """The backbone of a run, with its recipe, image set, seed, steps and seconds of training."""
    recipe = run.recipe
    told = {"recipe": recipe.to_dict(), "method": recipe.method.name, "dataset": recipe.data.dataset}
    told |= {"seed": recipe.seed, "steps": run.step, "train_seconds": round(run.seconds, 1)}
    return export_backbone(run.backbone, path, told, half)


def read_metadata(path: str | Path) -> dict[str, str]:
    """What the file says of itself, without reading the weights."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"there is no file {path}; mnclglf-lite export RUN {path} makes one")
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file ({error})") from error
    if told.get("format") != FORMAT:
        raise InputError(f"{path} was not written by mnclglf-lite export (its metadata: {sorted(told)})")
    return told


def recipe_of(told: Mapping[str, str], path: str | Path) -> Recipe:
    """The recipe that stands in the metadata; `InputError` where there is none."""
    if "recipe" not in told:
        raise InputError(f"{path} does not say how it was trained; only what mnclglf-lite export RUN wrote can be measured")
    return Recipe.from_dict(json.loads(told["recipe"]))


def load_backbone(path: str | Path) -> ResNet:
    """The backbone of what `export_backbone` wrote, on the CPU, in float32 and in eval mode."""
    from safetensors.torch import load_file

    told = read_metadata(path)
    try:
        backbone = ResNet(json.loads(told["width"]), json.loads(told["blocks"]), told["stem"])
        backbone.load_state_dict(load_file(path))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: weights and metadata do not fit together ({error})") from error
    return backbone.eval()
