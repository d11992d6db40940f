"""A small batch to look at losses with: two embeddings of every picture, a queue, labels; drawn to order, or encoded.

drawn      vectors whose two cosines are set by hand: that of a picture's two views, and that of different pictures
encoded    what a network makes of random views of real pictures
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...core.errors import InputError
from ...data.dataset import ImageSet
from ...models.freeze import eval_mode
from ...views.view import View, denormalise, render_view, sample_params

MOST = 16  # pictures of a batch whose pairs can still be told apart (ours)
QUEUE_MOST = 64  # entries of a queue likewise (ours)


@dataclass(frozen=True, eq=False)
class Batch:
    """Two embeddings a picture, and what the losses need beside them. Checked on construction.

    a, b     float (N, D): embeddings of the first and of the second view of N pictures, 2 <= N <= 16; any length
    queue    float (K, D): embeddings of other pictures, 1 <= K <= 64
    labels   int64 (N,): the pictures' classes, which `supervised_contrastive` alone reads
    shown    uint8 (2N, 3, H, W): the views themselves, first those of `a`; or None
    shown_queue  uint8 (K, 3, H, W), or None
    """

    a: Tensor
    b: Tensor
    queue: Tensor
    labels: Tensor
    shown: Tensor | None = None
    shown_queue: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("a", "b", "queue"):  # float64, so that what is shown is exact to the last digit
            value = torch.as_tensor(getattr(self, name)).detach().double().cpu()
            if value.ndim != 2 or not value.isfinite().all():
                raise InputError(
                    f"a batch's {name} must be finite embeddings, one row each; got shape {tuple(value.shape)}"
                    + (", with NaN or infinity in it: the encoder diverged" if value.ndim == 2 else "")
                )
            object.__setattr__(self, name, value)
        object.__setattr__(self, "labels", torch.as_tensor(self.labels).detach().cpu())
        n, d = self.a.shape
        if self.b.shape != (n, d) or self.queue.shape[1] != d or self.labels.shape != (n,):
            raise InputError(
                f"a batch takes a and b of one shape (N, D), a queue (K, D) and labels (N,); got {tuple(self.a.shape)}, "
                f"{tuple(self.b.shape)}, {tuple(self.queue.shape)}, {tuple(self.labels.shape)}"
            )
        if not 2 <= n <= MOST or not 1 <= len(self.queue) <= QUEUE_MOST:
            raise InputError(
                f"to be looked at, a batch has 2 to {MOST} pictures and a queue of 1 to {QUEUE_MOST}; "
                f"got {n} and {len(self.queue)}"
            )
        for shown, count in ((self.shown, 2 * n), (self.shown_queue, len(self.queue))):
            if shown is not None and (shown.ndim != 4 or len(shown) != count):
                raise InputError(f"{count} embeddings need as many pictures (.., 3, H, W); got {tuple(shown.shape)}")

    def __len__(self) -> int:
        return len(self.a)

    @property
    def letters(self) -> str:
        """A letter for each picture; its views are A1 and A2."""
        return string.ascii_uppercase[: len(self)]

    def with_queue(self, size: int) -> Batch:
        """The same batch with the first `size` entries of its queue."""
        if not 1 <= size <= len(self.queue):
            raise InputError(f"this batch came with a queue of {len(self.queue)}; got size {size}")
        shown = None if self.shown_queue is None else self.shown_queue[:size]
        return replace(self, queue=self.queue[:size], shown_queue=shown)


def drawn(n: int = 8, alignment: float = 0.6, sameness: float = 0.2, queue: int = QUEUE_MOST, seed: int = 0) -> Batch:
    """Embeddings to order, with all else at random; two pictures of a class.

        z = sqrt(sameness) c + sqrt(1 - sameness) u,     u = normalize( sqrt(alignment) p_i + sqrt(1 - alignment) noise )

    c is common to all, and p_i is the picture's own: the corners of a simplex, which lie as far apart as n directions can.
    So `alignment` is about the cosine of two views where `sameness` is 0, and `sameness` that of different pictures. At
    (1, 0) the batch is the best there can be for InfoNCE and NT-Xent, at sameness 1 all embeddings are equal.
    """
    if not (0 <= alignment <= 1 and 0 <= sameness <= 1):
        raise InputError(f"alignment and sameness are shares from 0 to 1; got {alignment} and {sameness}")
    if not 2 <= n <= MOST:
        raise InputError(f"a drawn batch has 2 to {MOST} pictures; got {n}")
    draw = torch.Generator().manual_seed(seed)
    d = 2 * n  # room for the simplex and for c, and few enough that noise makes neighbours (ours)
    frame = torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64)).Q  # orthonormal columns
    simplex = F.normalize(torch.eye(n, dtype=torch.float64) - 1 / n, dim=1)  # (n, n): cosines -1 / (n - 1)
    own, common = simplex @ frame[:, :n].T, frame[:, n]  # (n, D), (D,)

    def embeddings(parts: Tensor) -> Tensor:
        return sameness**0.5 * common + (1 - sameness) ** 0.5 * F.normalize(parts, dim=1)

    def noise(rows: int) -> Tensor:
        return F.normalize(torch.randn(rows, d, generator=draw, dtype=torch.float64), dim=1)

    a, b = (embeddings(alignment**0.5 * own + (1 - alignment) ** 0.5 * noise(n)) for _ in range(2))
    return Batch(a, b, embeddings(noise(queue)), torch.arange(n) // 2)


@torch.no_grad()
def encoded(
    encoder: Callable[[Tensor], Tensor], pictures: ImageSet, view: View, n: int = 8, queue: int = 32, seed: int = 0
) -> Batch:
    """What an encoder makes of two random views of n pictures, two of a class, and of one view of `queue` others.

    The losses see what leaves a method's last head: give backbone and projector, `nn.Sequential(method.backbone,
    method.projector)`, to see what training sees. The encoder is asked in eval mode.
    """
    if len(pictures) < n + queue:
        raise InputError(
            f"a batch of {n} and a queue of {queue} take {n + queue} pictures; {pictures.name} has {len(pictures)}"
        )
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pictures), generator=draw).tolist()
    labels = pictures.labels.tolist()
    pairs: dict[int, list[int]] = {}
    for i in order:
        pairs.setdefault(labels[i], []).append(i)
    chosen = [i for members in pairs.values() if len(members) > 1 for i in members[:2]][:n]
    chosen += [i for i in order if i not in set(chosen)][: n - len(chosen)]  # too few classes for pairs alone
    others = [i for i in order if i not in set(chosen)][:queue]
    images = pictures.images[torch.tensor([*chosen, *chosen, *others], device=pictures.device)].cpu()
    x = render_view(images, view, sample_params(view, len(images), images.shape[-2:], draw))  # (2n + K, 3, S, S)
    with eval_mode(encoder):
        z = encoder(x.to(pictures.device)).cpu()  # (2n + K, D)
    shown = (denormalise(x).clamp(0, 1) * 255).round().byte()
    a, b, kept = z.split([n, n, queue])
    return Batch(a, b, kept, torch.tensor([labels[i] for i in chosen]), shown[: 2 * n], shown[2 * n :])
