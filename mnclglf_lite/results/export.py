"""Trained weights as safetensors files, and back: a backbone under torchvision's key names, or all networks of a run.

    torchvision.models.resnet18().load_state_dict(safetensors.torch.load_file(path), strict=False)

works for a backbone of width 64, blocks (2, 2, 2, 2) and stem "imagenet": only fc.weight and fc.bias are
missing.
The file's metadata say what the weights are and how images must be normalised for them. In half precision it is half as
large. `export_run` with `whole` keeps heads, momentum encoders and queue too: `load_trained` makes the run of it again, and
`load_backbone` takes the backbone alone out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import InputError
from ..core.files import write_atomically
from ..core.version import __version__
from ..models.resnet import ResNet
from ..recipe.recipe import Recipe
from ..training.run import Run, new_run
from ..views import view

FORMAT, WHOLE = "mnclglf_lite backbone 1", "mnclglf_lite networks 1"
BACKBONE = "backbone."  # where a method's state dict has it
OURS = ("format", "width", "blocks", "stem", "mean", "std", "version")  # written by `export_backbone` itself


def export_backbone(
    backbone: ResNet, path: str | Path, metadata: Mapping[str, Any] | None = None, half: bool = False,
) -> Path:  # fmt: skip
    """Write the weights with `metadata` (values that are no strings become JSON); each file whole or not at all.

    `half`: float16 in place of float32. Returns the path. The package adds format, width, blocks, stem, the normalisation's
    mean and std, and its version.
    """
    metadata = dict(metadata or {})
    if not isinstance(backbone, ResNet):
        raise InputError(f"only a mnclglf_lite ResNet can be exported; got {type(backbone).__name__}")
    if taken := [key for key in metadata if key in OURS]:
        raise InputError(f"metadata {', '.join(taken)}: the export writes these itself; use other names")
    return _write(Path(path), FORMAT, backbone, backbone.state_dict(), metadata, half)


def _write(
    path: Path, form: str, backbone: ResNet, state: Mapping[str, Tensor], metadata: Mapping[str, Any], half: bool
) -> Path:
    """Tensors and what they are, in one file."""
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise InputError(f"the file's name must end in .safetensors; got {path.name!r}")
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    if half:
        tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    if broken := [key for key, value in tensors.items() if not torch.isfinite(value).all()]:
        why = "a number is too large for float16: export without half" if half else "the run diverged; export an earlier one"
        raise InputError(f"the weights {broken[0]} are not finite: {why}")
    told = {"format": form, "width": backbone.width, "blocks": backbone.blocks, "stem": backbone.stem}
    told |= {"mean": view.MEAN, "std": view.STD, "version": __version__, **metadata}
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()}
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into; create it first")
    write_atomically(path, save(tensors, text))
    return path


def export_run(run: Run, path: str | Path, half: bool = False, whole: bool = False) -> Path:
    """The backbone of a run, or with `whole` all its networks and queues; recipe, seed, steps and seconds beside them."""
    recipe = run.recipe
    told = {"recipe": recipe.to_dict(), "method": recipe.method.name, "dataset": recipe.data.dataset}
    told |= {"classes": run.classes, "seed": recipe.seed, "steps": run.step, "train_seconds": round(run.seconds, 1)}
    if whole:
        return _write(Path(path), WHOLE, run.backbone, run.method.state_dict(), told, half)
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
    if told.get("format") not in (FORMAT, WHOLE):
        raise InputError(f"{path} was not written by mnclglf-lite export (its metadata: {sorted(told)})")
    return told


def recipe_of(told: Mapping[str, str], path: str | Path) -> Recipe:
    """The recipe that stands in the metadata; `InputError` where there is none."""
    if "recipe" not in told:
        raise InputError(f"{path} does not say how it was trained; only what mnclglf-lite export RUN wrote can be measured")
    return Recipe.from_dict(json.loads(told["recipe"]))


def load_backbone(path: str | Path) -> ResNet:
    """The backbone of what `export_backbone` or `export_run` wrote, on the CPU, in float32 and in eval mode."""
    told, tensors = _read(path)
    if told["format"] == WHOLE:
        tensors = {key.removeprefix(BACKBONE): value for key, value in tensors.items() if key.startswith(BACKBONE)}
    with _fitting(path):
        backbone = ResNet(json.loads(told["width"]), json.loads(told["blocks"]), told["stem"])
        backbone.load_state_dict(tensors)
    return backbone.eval()


def load_trained(path: str | Path) -> Run:
    """The finished run of what `export_run` wrote with `whole`, on the CPU: method, recipe, steps and seconds.

    It has no history and cannot be gone on with: the optimiser's state is not kept.
    """
    told, tensors = _read(path)
    if told["format"] != WHOLE:
        raise InputError(f"{path} holds a backbone alone; load_backbone reads it")
    recipe = recipe_of(told, path)
    with _fitting(path):
        run = new_run(recipe, recipe.optim.batch_size, json.loads(told["classes"]), torch.device("cpu"))
        run.method.load_state_dict(tensors)
        run.step = run.total_steps = int(told["steps"])
        run.seconds = float(told["train_seconds"])
    run.method.eval()
    return run


def _read(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors.torch import load_file

    return read_metadata(path), load_file(path)


@contextmanager
def _fitting(path: str | Path) -> Iterator[None]:
    """What goes wrong inside is the file's fault."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: weights and metadata do not fit together ({error})") from error
