"""The other way to make a SimCLR step: one image at a time in a DataLoader, as lightly and solo-learn do it.

Built so that the work is equal: our encoder with our weights, our head's layers, our view's strengths and probabilities,
the same batch, temperature and optimiser settings. What differs is how: Pillow or torchvision image by image, in
processes of their own, and lightly's classes for transform, head and loss.

solo-learn itself is not installed (its newest package pins torch 1.9): its row is the chain of torchvision transforms
that its recipes compose, with our bilinear filter in place of its bicubic one, in the same loop as lightly's. No Lightning
trainer runs around any of them, which favours both.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from mnclglf_lite.losses import nt_xent
from mnclglf_lite.methods.simclr import SimCLR
from mnclglf_lite.recipe.recipe import Recipe
from mnclglf_lite.views.view import MEAN, STD, View, render_view, sample_params

SAME = 1e-4  # largest difference between our forward pass and theirs, before anything is timed
PREFETCH = 2  # batches a loader process keeps ready (torch's default)


class Unavailable(Exception):
    """This row cannot be had here; the message says why."""


def need(module: str) -> Any:
    """A package by name, or a reason to skip the row."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a package that is there and broken raises of all kinds
        raise Unavailable(f"{module} cannot be imported here: {type(error).__name__}: {error}") from None


def check_view(view: View) -> None:
    """Refuse a view that the peers' transforms cannot be set to."""
    plain = View(size=view.size, scale=(view.scale[0], 1.0), flip_p=view.flip_p, jitter=view.jitter, jitter_p=view.jitter_p,
                 gray_p=view.gray_p, blur_p=0.0)  # fmt: skip
    if view != plain:
        raise Unavailable(f"the peers' transforms cannot be set to {view}: no blur, solarisation, region or other filter")


def lightly_transform(view: View, normalise: bool = True) -> Callable:
    """lightly's SimCLRTransform at our view's strengths: a Pillow image -> a list of two (3, S, S)."""
    check_view(view)
    brightness, contrast, saturation, hue = view.jitter
    return need("lightly.transforms").SimCLRTransform(
        input_size=view.size, cj_prob=view.jitter_p, cj_strength=1.0, cj_bright=brightness, cj_contrast=contrast,
        cj_sat=saturation, cj_hue=hue, min_scale=view.scale[0], random_gray_scale=view.gray_p, gaussian_blur=view.blur_p,
        hf_prob=view.flip_p, normalize={"mean": list(MEAN), "std": list(STD)} if normalise else None,
    )  # fmt: skip


def torchvision_transform(view: View, normalise: bool = True) -> Callable:
    """The chain that solo-learn's recipes compose, in torchvision's v2: an image -> a list of two (3, S, S)."""
    check_view(view)
    v2 = need("torchvision.transforms.v2")
    chain = v2.Compose([
        v2.RandomResizedCrop(view.size, scale=view.scale, ratio=view.ratio, antialias=True),
        v2.RandomApply([v2.ColorJitter(*view.jitter)], p=view.jitter_p),
        v2.RandomGrayscale(p=view.gray_p),
        v2.RandomHorizontalFlip(p=view.flip_p),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        *([v2.Normalize(MEAN, STD)] if normalise else []),
    ])  # fmt: skip
    return lambda image: [chain(image), chain(image)]


def to_pillow(images: Tensor) -> list[Any]:
    """uint8 (N, 3, H, W) -> N Pillow images."""
    image = need("PIL.Image")
    return [image.fromarray(each) for each in images.permute(0, 2, 3, 1).contiguous().numpy()]


class Images(Dataset):
    """Two views of each image, made when they are asked for. An epoch may count more images than there are.

    Args:
        keep: "pillow" holds Pillow images, "tensor" uint8 tensors, "array" one NumPy array from which each image is made
            when it is asked for, as torchvision's CIFAR10 does.
    """

    def __init__(self, images: Tensor, transform: Callable, keep: str):
        self.transform, self.keep = transform, keep
        self.images = {
            "pillow": lambda: to_pillow(images),
            "tensor": lambda: list(images.clone()),
            "array": lambda: images.permute(0, 2, 3, 1).contiguous().numpy(),
        }[keep]()
        self.fromarray = need("PIL.Image").fromarray if keep == "array" else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> tuple[list[Tensor], int]:
        image = self.images[at]
        return self.transform(self.fromarray(image) if self.fromarray else image), 0


class Endless(Sampler):
    """Shuffled image numbers without end: a loader that never comes to the end of an epoch never has to refill itself."""

    def __init__(self, count: int):
        self.count = count

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self.count).tolist()


def loader(images: Images, batch: int, workers: int, tuned: bool, cuda: bool) -> tuple[Iterator, int]:
    """Batches without end, and how many of them may lie ready before they are asked for.

    Tuned: processes that stay, an endless sampler, pinned memory on CUDA. Otherwise the examples' loader, whose processes
    are started again with every epoch.
    """
    context = "fork" if workers and "fork" in torch.multiprocessing.get_all_start_methods() else None
    shared = {"batch_size": batch, "num_workers": workers, "drop_last": True, "multiprocessing_context": context}
    if tuned:
        endless = Endless(len(images))
        made = DataLoader(images, sampler=endless, persistent_workers=workers > 0, pin_memory=cuda, **shared)
        return iter(made), PREFETCH * workers
    made = DataLoader(images, shuffle=True, **shared)

    def epochs() -> Iterator:
        while True:
            yield from made

    return epochs(), PREFETCH * workers


def model_and_loss(recipe: Recipe, ours: SimCLR, library: str) -> tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    """Encoder, head and loss of a peer with our weights: "lightly" has its own head and loss, "torchvision" has ours.

    Checked before it is returned: embeddings and loss are ours, to `SAME`.
    """
    encoder = copy.deepcopy(ours.backbone)
    if library == "lightly":
        heads, losses = need("lightly.models.modules.heads"), need("lightly.loss")
        widths = (encoder.dim, *recipe.method.projector)
        blocks = []
        for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            last = i == len(widths) - 2
            norm = nn.BatchNorm1d(b) if recipe.method.projector_last_norm or not last else None
            blocks.append((a, b, norm, None if last else nn.ReLU(inplace=True), True))
        head = heads.ProjectionHead(blocks)
        head.layers.load_state_dict(ours.projector.state_dict())
        loss: Callable[[Tensor, Tensor], Tensor] = losses.NTXentLoss(temperature=recipe.method.temperature)
    else:
        head, loss = copy.deepcopy(ours.projector), lambda a, b: nt_xent(a, b, recipe.method.temperature)
    model = nn.Sequential(encoder, head).train()
    check_equal(recipe, ours, model, loss)
    return model, loss


@torch.no_grad()
def check_equal(recipe: Recipe, ours: SimCLR, model: nn.Module, loss: Callable) -> None:
    """Raise where our forward pass and theirs differ. On the CPU, in float32, on copies: nothing is changed."""
    ours, model = copy.deepcopy(ours).cpu().train(), copy.deepcopy(model).cpu()
    generator = torch.Generator().manual_seed(0)
    pair = [torch.randn(16, 3, recipe.views.view.size, recipe.views.view.size, generator=generator) for _ in range(2)]
    found, theirs = ours(pair), [model(x) for x in pair]
    apart = max(float((found[f"z{i}"] - z).abs().max()) for i, z in enumerate(theirs, 1))
    apart = max(apart, abs(float(found["loss"] - loss(*theirs))))
    if not apart <= SAME:
        raise Unavailable(f"their forward pass is not ours: it differs by {apart:.2g}, and {SAME} is allowed")


class PeerStep:
    """One step as the libraries' examples write it, on whatever batch comes: two views, loss, backward, optimiser.

    `tuned` adds what a careful user would: channels_last, autocast, one fused kernel for SGD, maybe torch.compile.
    """

    def __init__(
        self, recipe: Recipe, ours: SimCLR, library: str, device: torch.device, dtype: torch.dtype | None, tuned: bool
    ):  # fmt: skip
        self.device, self.dtype, self.tuned = device, dtype, tuned
        model, self.loss = model_and_loss(recipe, ours, library)
        layout = torch.channels_last if tuned else torch.contiguous_format
        self.model = model.to(device, memory_format=layout)
        self.forward: Callable[[Tensor], Tensor] = self.model
        optim = recipe.optim
        self.optimiser = torch.optim.SGD(
            self.model.parameters(), lr=0.01 * optim.lr * optim.batch_size / 256, momentum=optim.momentum,
            nesterov=optim.nesterov, weight_decay=optim.weight_decay,
            **({"fused": True} if tuned and device.type in ("cpu", "cuda") else {}),
        )  # fmt: skip

    def moved(self, x: Tensor) -> Tensor:
        """A view (N, 3, S, S) on the device, in the layout of the networks."""
        if not self.tuned:
            return x.to(self.device)
        return x.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)

    def __call__(self, batch: tuple[list[Tensor], Tensor]) -> None:
        first, second = (self.moved(x) for x in batch[0])
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            z1, z2 = self.forward(first), self.forward(second)
            loss = self.loss(z1, z2)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


# --- does everybody augment alike? -----------------------------------------------------------------------------------------


def our_views(images: Tensor, view: View) -> Tensor:
    """One view of each image as the package makes it, values in [0, 1]: uint8 (N, 3, H, W) -> (N, 3, S, S)."""
    draw = sample_params(view, len(images), images.shape[-2:], torch.Generator().manual_seed(11))
    return render_view(images, view, draw, normalise=False)


def peer_views(make: Callable[..., Callable], images: Tensor, view: View) -> Tensor:
    """The same, made image by image by a peer's transform."""
    torch.manual_seed(12)
    np.random.seed(12)  # lightly's blur draws from here, even where it is off
    random.seed(12)
    transform = make(view, normalise=False)
    return torch.stack([transform(image)[0] for image in to_pillow(images)])


PIPELINES: dict[str, Callable[[Tensor, View], Tensor]] = {
    "ours": our_views,
    "lightly": lambda images, view: peer_views(lightly_transform, images, view),
    "torchvision": lambda images, view: peer_views(torchvision_transform, images, view),
}
SLACK = 0.01  # of values in [0, 1]: Pillow rounds to bytes after every operation, tensors do not
SIGMAS = 4.0  # beyond the slack, standard errors of a difference that chance may make


def flat(n: int, side: int) -> Tensor:
    """Pictures of one colour each, uint8 (N, 3, H, W): no crop changes them, so that what changes them is colour."""
    colours = torch.randint(0, 256, (n, 3, 1, 1), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return colours.expand(n, 3, side, side).contiguous()


def ramp(n: int, side: int) -> Tensor:
    """N images in which red says how far right a pixel is and green how far down, uint8 (N, 3, H, W)."""
    along = (torch.arange(side) * 255 / (side - 1)).round().to(torch.uint8)
    image = torch.stack([along.expand(side, side), along[:, None].expand(side, side), torch.zeros(side, side).byte()])
    return image.expand(n, 3, side, side).contiguous()


def colour_traits(images: Tensor, made: Tensor) -> dict[str, Tensor]:
    """What became of flat images: (N,) a trait. Insensitive to the crop."""
    before, after = images[:, :, 0, 0].float() / 255, made.mean((2, 3))  # (N, 3) each
    spread = after.amax(1) - after.amin(1)
    traits = {f"colour {name}": after[:, i] for i, name in enumerate("rgb")}
    traits |= {f"colour change {name}": (after - before)[:, i].abs() for i, name in enumerate("rgb")}
    traits |= {"colour spread": spread, "colour gone": (spread < 0.02).float()}
    # how far the brightness moves, and how far the hue and saturation do beyond it
    moved = after.mean(1) - before.mean(1)
    rest = (after - after.mean(1, keepdim=True)) - (before - before.mean(1, keepdim=True))
    strength = [(x.amax(1) - x.amin(1)) / (x.amax(1) + 0.05) for x in (before, after)]  # brightness leaves it nearly alone
    traits["saturation change"] = (strength[1] - strength[0]).abs()
    return traits | {"brightness change": moved.abs(), "hue change": rest.abs().mean(1)}


def crop_traits(images: Tensor, made: Tensor) -> dict[str, Tensor]:
    """What became of ramps when colour was left alone: how large the crop was, where, and whether it was mirrored: (N,)."""
    across, down = made[:, 0].mean(1), made[:, 1].mean(2)  # (N, S) each
    width, height = across.amax(1) - across.amin(1), down.amax(1) - down.amin(1)
    middle = across.mean(1)
    return {
        "crop width": width,
        "crop area": width * height,
        "crop middle": middle,
        "crop off centre": (middle - 0.5).abs(),
        "crop off middle row": (down.mean(1) - 0.5).abs(),
        "mirrored": (across[:, 0] > across[:, -1]).float(),
    }


def whole_traits(images: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Of real images: mean and deviation a channel, and how far brightness and contrast are from the image's: (N,)."""
    traits = {f"mean {name}": made[:, i].mean((1, 2)) for i, name in enumerate("rgb")}
    traits |= {f"std {name}": made[:, i].std((1, 2)) for i, name in enumerate("rgb")}
    before, after = (x.mean(1).flatten(1) for x in (images.float() / 255, made))  # (N, pixels) grey
    traits["brightness from picture"] = (after.mean(1) - before.mean(1)).abs()
    contrast = [((x.std(1) + 0.02) / (x.mean(1) + 0.02)).log() for x in (before, after)]
    return traits | {"contrast change": (contrast[1] - contrast[0]).abs()}


def traits_of(pipeline: Callable[[Tensor, View], Tensor], images: Tensor, view: View) -> dict[str, Tensor]:
    """Every trait of a pipeline's views, (N,) each: of flat images, of ramps, and of the images themselves."""
    n, side = len(images), images.shape[-1]
    colourless = dataclasses.replace(view, jitter_p=0.0, gray_p=0.0)
    found: dict[str, Tensor] = {}
    for given, seen, traits in (
        (flat(n, side), view, colour_traits),
        (ramp(n, side), colourless, crop_traits),
        (images, view, whole_traits),
    ):
        found |= traits(given, pipeline(given, seen))
    return found


def compare_traits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> dict[str, Any]:
    """Means of both, and each difference over what is allowed: `SLACK` and `SIGMAS` standard errors. Above 1 is unequal."""
    rows = {}
    for name, a in ours.items():
        b = theirs[name]
        allowed = SLACK + SIGMAS * float((a.var() / len(a) + b.var() / len(b)).sqrt())
        rows[name] = {
            "ours": round(float(a.mean()), 4),
            "theirs": round(float(b.mean()), 4),
            "difference": round(float((a.mean() - b.mean()).abs()), 4),
            "allowed": round(allowed, 4),
        }
    worst = max(rows, key=lambda name: rows[name]["difference"] / rows[name]["allowed"])
    share = rows[worst]["difference"] / rows[worst]["allowed"]
    return {"views": len(a), "traits": rows, "worst": worst, "worst_of_allowed": round(share, 3), "equal": share <= 1}


def parity(images: Tensor, view: View) -> dict[str, Any]:
    """Do the peers' views have the distribution of ours? uint8 images (N, 3, H, W), one view of each by every pipeline."""
    ours, found = traits_of(PIPELINES["ours"], images, view), {}
    for name in ("lightly", "torchvision"):
        try:
            found[name] = compare_traits(ours, traits_of(PIPELINES[name], images, view))
        except Unavailable as error:
            found[name] = {"skipped": str(error)}
    return found
