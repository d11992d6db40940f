"""What becomes of the patches of one view: their combinations, the embedding of each, and what the loss compares it with.

    found = combined(pictures, method, index=3, seed=0, grid=2, combine=2)
    found.members[1], found.embeddings[1], found.cosines[1]          # (0, 2), its (D,), one number a picture of the batch

One pass of the method over a batch that holds the picture, as a training step would make it: `batch.make_views` cuts the
views, the method's own forward gives p(x1) and c(x2). BatchNorm takes its statistics from this batch, as in training: an
untrained network has no others. The method is left as it was, its running statistics included.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...losses import cosine_logits
from ...methods.mnclglf import MNCLGLF, MNCLGLFConfig, patches_of, slots_of
from ...models.encoder import SMALLEST_VIEW
from ...recipe.view_choice import divisible
from ...views.batch import make_views
from ...views.patches import combinations
from ...views.view import denormalise
from ..crops import sample

BATCH = 32  # pictures that are compared (ours): enough for a rank, few enough for a slider


@dataclass(frozen=True, eq=False)
class Combined:
    """P patches of a picture's view x2 in C combinations, each compared with the prediction p(x1) of its view x1.

    first, second   the views x1 and x2, (3, S, S) in [0, 1]
    patches         P pictures (3, s, s) in [0, 1], in the order of `patches.grid_patches`
    members         C tuples of positions in `patches`
    embeddings      float32 (C, D): c_j(x2) of this picture
    prediction      float32 (D,): p(x1) of this picture
    cosines         float32 (C, N): of p(x1) with c_j(x2) of every picture of the batch, this one first
    grid            patches a side where they are cut out of x2; 0 where they are random crops
    """

    first: Tensor
    second: Tensor
    patches: Tensor
    members: list[tuple[int, ...]]
    embeddings: Tensor
    prediction: Tensor
    cosines: Tensor
    grid: int

    @property
    def names(self) -> list[str]:
        """A combination by the letters of its patches: 'A + C'."""
        return [" + ".join(chr(ord("A") + member) for member in members) for members in self.members]

    @property
    def beaten(self) -> Tensor:
        """(C,) how many other pictures' embeddings are less like p(x1) than this picture's own."""
        return (self.cosines[:, 1:] < self.cosines[:, :1]).sum(1)

    @property
    def others(self) -> int:
        """Pictures of the batch beside this one."""
        return self.cosines.shape[1] - 1


def combined(pictures: ImageSet, method: MNCLGLF, index: int, seed: int, grid: int, combine: int) -> Combined:
    """One pass over a batch whose first picture is `pictures.images[index]`; the seed draws the others and all views.

    grid, combine: in place of the method's own. Where the grid does not divide the views' size, the nearest size is taken.
    """
    check(pictures, method)
    config, generator = dataclasses.replace(method.config, grid=grid, combine=combine), torch.Generator().manual_seed(seed)
    whole = dataclasses.replace(method.whole_view, size=divisible(method.whole_view.size, config.cells))
    least = SMALLEST_VIEW[method.backbone.stem] * config.cells
    if whole.size < least:
        raise InputError(f"a view of {whole.size} pixels is too small for this network; make it at least {least}")
    config.check_combine()
    order = torch.randperm(len(pictures), generator=generator)
    rows = torch.cat([torch.tensor([index]), order[order != index][: BATCH - 1]])
    batch = pictures.images[rows.to(pictures.device)].cpu()  # (N, 3, H, W)
    kinds = [slot.resolve(whole) for slot in slots_of(config)]
    cut = [x.to(next(method.parameters()).device) for x in make_views(batch, kinds, generator)]
    with as_training(method, config) as (twin, buffers), torch.no_grad():
        outputs = torch.func.functional_call(twin, buffers, (cut,))
    prediction, embeddings = outputs["p1"], outputs["c2"]  # (N, D), (C, N, D)
    cosines = torch.stack([cosine_logits(prediction[:1], c, 1.0)[0] for c in embeddings])  # (C, N)
    patches = patches_of(cut, config)[1][:, 0]  # (P, N, 3, s, s) -> (P, 3, s, s)
    first, second, patches = (denormalise(x).clamp(0, 1).cpu() for x in (cut[0][0], cut[1][0], patches))
    return Combined(
        first, second, patches, combinations(grid**2, combine), embeddings[:, 0].float().cpu(), prediction[0].float().cpu(),
        cosines.cpu(), grid if config.local == "grid" else 0,
    )  # fmt: skip


def check(pictures: ImageSet, method: nn.Module) -> None:
    """Raise where nothing could be compared."""
    if not isinstance(method, MNCLGLF):
        raise InputError(
            f"patches are combined by MNCLGLF, and this is {type(method).__name__}: give a method of mnclglf, such as "
            'build_method(preset("quick", "mnclglf"), 10), or its run'
        )
    if len(pictures) < 2:
        raise InputError(f"an image set of {len(pictures)}: expected at least 2 pictures, one to be compared with the other")
    sample.check(pictures.images[0])


@contextlib.contextmanager
def as_training(method: MNCLGLF, config: MNCLGLFConfig) -> Iterator[tuple[MNCLGLF, dict[str, Tensor]]]:
    """The method as it is in training but under other settings, and copies of its buffers to work on.

    The networks are the method's own, no copies; their modes are put back, and whoever passes the copies to
    `functional_call` moves no running statistics of theirs.
    """
    twin, modes = copy.copy(method), {module: module.training for module in method.modules()}
    twin.config = config
    twin.train()
    try:
        yield twin, {name: buffer.clone() for name, buffer in method.named_buffers()}
    finally:
        for module, mode in modes.items():
            module.training = mode
