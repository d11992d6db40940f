"""The proof's other half: what each of several processes runs. Not a test file; `test_distributed.py` starts it.

python many_ranks.py alone FILE         6 steps of every method in float64, by one process, to FILE
python many_ranks.py proof FILE TO      as one rank: whole BatchNorm, every loss, and the steps of FILE; the largest
                                        differences from one process to TO.RANK
python many_ranks.py train OUT [STOP]   a short run, gone on with if OUT has one; rank 1 alone is interrupted in step STOP
"""

import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import torch
from conftest import read_by, tiny
from torch.utils.flop_counter import FlopCounterMode

from mnclglf_lite import losses
from mnclglf_lite.core import distributed
from mnclglf_lite.core.distributed import all_gather_rows, all_gather_stack, init_distributed, local_rows, world_size
from mnclglf_lite.data import dataset
from mnclglf_lite.data.dataset import load_dataset
from mnclglf_lite.methods.glnet import multi_positive_nt_xent
from mnclglf_lite.methods.registry import register_method
from mnclglf_lite.models.batchnorm import CpuSyncBatchNorm, sync_batchnorm
from mnclglf_lite.training import train
from mnclglf_lite.training.run import new_run
from mnclglf_lite.training.step import Step
from mnclglf_lite.views import montage
from mnclglf_lite.views.view import View, render_view

STEPS, PICTURES = 6, 48
SHARED = {"batch_size": 24, "queue": 48}  # by two ranks and by three
SMALL = {"small_view": View(size=8, blur_p=0.0)}
FORMS = {
    "supervised": {},
    "simclr, small views": {"small_views": 2, **SMALL},
    "simclr, muon": {"optimiser": "muon", "muon_lr": 0.01},
    "moco, groups": {"bn_splits": 6},
    "moco, one-way in order": {"bn_splits": 6, "shuffle_bn": False, "symmetric": False},
    "simsiam": {},
    "byol": {"ema_end": 1.0, "clip_grad_norm": 0.5},
    "nnclr": {},
    "fastmoco": {},
    "mnclglf": {},
    "mnclglf, as released": {"local_gradient": False},
    "mnclglf, crops": {"local": "crops", **SMALL},
    "mnclglf, one network": {"num_networks": 1, "small_views": 1, **SMALL},
    "mcl": {},
    "mcl, labels": {"with_labels": True},
    "mcl, labels alone": {"with_labels": True, "losses": ()},
    "cgh": {"blocks": (1, 1)},
    "cgh, ressl in groups": {"blocks": (1, 1), "context": "ressl", "bn_splits": 6},
    "glnet, simclr": {"framework": "simclr", "same_order": False},
    "glnet, before": {"flip_patches": "before", "ema_end": 1.0},
    "align-uniform": {},  # of docs/add_your_own_method.md
}


def trajectory(form: str, parts: dataset.Splits):
    """One form's steps in float64: yields loss and gradients (name -> tensor) of each, and the state dict at the end.

    The FLOPs of the first step go with it, as "flops".
    """
    # A small rate: at a large one rounding, which doubles every few steps, would be seen after few of them
    name = form.split(",")[0]
    small = {"steps": STEPS, "lr": 0.02, "width": 4, "blocks": (1,), "projector": (8,)}
    recipe = tiny(name, **read_by(name, **small, **SHARED) | FORMS[form])
    run = new_run(recipe, PICTURES, 10, torch.device("cpu"))
    run.method.double().train()
    step = Step(run, parts.train.images, parts.train.labels, "eager")
    step.render = lambda *a: render_view(*a).double()
    for number in range(STEPS):
        index = torch.randperm(PICTURES, generator=torch.Generator().manual_seed(number))[: recipe.optim.batch_size]
        with FlopCounterMode(display=False) if number == 0 else contextlib.nullcontext() as counter:
            loss = step(index)["loss"].detach()
        named = {name: p.grad.clone() for name, p in run.method.named_parameters() if p.grad is not None}
        yield loss, named if number else named | {"flops": torch.tensor(counter.get_total_flops())}
    yield torch.zeros(()), {name: value.clone() for name, value in run.method.state_dict().items()}


def apart(a: torch.Tensor, b: torch.Tensor, scale: float) -> float:
    """The largest difference, as a share of a scale."""
    return float((a.double() - b.double()).abs().max()) / scale if a.numel() else 0.0


def methods(parts: dataset.Splits, alone: dict) -> dict[str, dict[str, float]]:
    """For each form the largest differences of loss, gradients and final state from those of one process; and its FLOPs,
    times the ranks, over those of one process."""
    found = {}
    for form in FORMS:
        loss, gradient = [], []
        for (loss1, named1), (loss2, named2) in zip(alone[form], trajectory(form, parts), strict=True):
            assert named1.keys() == named2.keys(), (form, named1.keys() ^ named2.keys())
            if "flops" in named1:
                share = int(named2.pop("flops")) * world_size() / int(named1.pop("flops"))
            scale = max(float(value.abs().max()) for value in named1.values() if value.is_floating_point())
            loss.append(apart(loss1, loss2, max(1.0, abs(float(loss1)))))
            gradient.append(max(apart(named1[name], named2[name], scale) for name in named1))
        found[form] = {"loss": max(loss), "gradient": max(gradient[:-1]), "state": gradient[-1], "flops": share}
    return found


def measure_losses() -> dict[str, tuple]:
    """Each loss that compares rows with rows, of own rows: value, gradients, which rows they are, FLOPs."""
    n, temperature, found = 12, 0.3, {}
    labels = torch.tensor([0, 1, 2, 3, 0, 4, 5, 0, 1, 1, 1, 0])  # four have no classmate, most of them on rank 0

    def by_class(a, b, temperature):
        own = labels[local_rows(n)]
        return losses.supervised_contrastive(losses.cosine_logits(a, all_gather_rows(b), temperature), own)

    for loss in (losses.info_nce, losses.nt_xent, by_class, multi_positive_nt_xent):
        draws = torch.Generator().manual_seed(5)
        patches = loss is multi_positive_nt_xent  # four for each image
        rows = montage.some(torch.arange(4 * n)) if patches else torch.arange(n)[local_rows(n)]
        a, b = (torch.randn(4 * n, 5, generator=draws, dtype=torch.float64)[rows].requires_grad_() for _ in range(2))
        with FlopCounterMode(display=False) as counter:
            value = loss(a, b, temperature)
        value.backward()
        found[loss.__name__] = value.detach(), torch.stack([a.grad, b.grad]), rows, counter.get_total_flops()
    return found


def every_loss(whole: dict[str, tuple]) -> dict[str, dict[str, float]]:
    """The mean of the ranks' losses, and the gradient that averaging makes, against one process; FLOPs times the ranks."""
    found = {}
    for name, (value, gradient, rows, flops) in measure_losses().items():
        one, gradient1, _, flops1 = whole[name]
        found[name] = {
            "value": apart(one, all_gather_stack(value).mean(0), 1.0),
            "gradient": apart(gradient1[:, rows], gradient / world_size(), 1.0),
            "flops": flops * world_size() / flops1,
        }
    return found


def whole_norm() -> dict[str, float]:
    """`CpuSyncBatchNorm` on two ranks against nn.BatchNorm on the joined batch: values, gradients, running statistics."""
    found = {}
    for kind, shape in ((torch.nn.BatchNorm1d, (12, 5)), (torch.nn.BatchNorm2d, (12, 5, 3, 4))):
        for affine in (True, False):
            draws = torch.Generator().manual_seed(3)
            x, way = (torch.randn(shape, generator=draws, dtype=torch.float64) * 3 + 7 for _ in range(2))
            one = kind(5, affine=affine).double()
            if affine:
                torch.nn.init.normal_(one.weight, generator=draws)
                torch.nn.init.normal_(one.bias, generator=draws)
            other = kind(5, affine=affine).double()
            other.load_state_dict(one.state_dict())
            sync_batchnorm(other, torch.device("cpu"))
            assert isinstance(other, CpuSyncBatchNorm) and other.state_dict().keys() == one.state_dict().keys()
            part = local_rows(12)
            x1, x2 = x.clone().requires_grad_(), x[part].clone().requires_grad_()
            for _ in range(2):
                y1, y2 = one(x1), other(x2)
            (y1.sin() * way).sum().backward()
            (y2.sin() * way[part]).sum().backward()
            pairs = {"value": (y1[part], y2), "gradient": (x1.grad[part], x2.grad)}
            if affine:
                pairs |= {"weight": (one.weight.grad, all_gather_stack(other.weight.grad).sum(0))}
                pairs |= {"bias": (one.bias.grad, all_gather_stack(other.bias.grad).sum(0))}
            pairs |= {name: (value, other.state_dict()[name]) for name, value in one.state_dict().items()}
            pairs["eval"] = (one.eval()(x1)[part], other.eval()(x2))
            name = f"{kind.__name__} affine={affine}"
            found |= {f"{name} {what}": apart(a.detach(), b.detach(), 1.0) for what, (a, b) in pairs.items()}
    return found


def proof(path: Path, to: Path) -> None:
    """Everything that one process can be compared with, in one start of many."""
    alone, whole = torch.load(path), measure_losses()
    with init_distributed("cpu"):
        found = {"norm": whole_norm(), "losses": every_loss(whole), "methods": methods(toys(PICTURES), alone)}
        torch.save(found, f"{to}.{distributed.rank()}")


def register_the_pages_method() -> None:
    """The class that docs/add_your_own_method.md writes."""
    page = (Path(__file__).parents[1] / "docs" / "add_your_own_method.md").read_text(encoding="utf-8")
    exec(compile(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], "add_your_own_method.md", "exec"), space := {})
    register_method(space["AlignUniform"])


def toys(count: int) -> dataset.Splits:
    """The first toys of each part, 16 pixels wide."""
    return dataset.Splits(*(part.subset(torch.arange(min(count, len(part)))) for part in load_dataset("toybox", side=16)))


SHORT = {"method": "moco", "steps": 40, "lr": 0.02, "precision": "fp32"}  # no nearest neighbour: one may flip by rounding


def short(out: Path, stop: int = 0) -> None:
    """The short run; the interrupt comes to rank 1, twice, in the middle of step `stop`."""
    splits = toys(320)
    with init_distributed("cpu"):
        real = Step.__call__

        def step(self, index):
            if distributed.rank() == 1 and self.run.step == stop - 1:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)
            return real(self, index)

        Step.__call__ = step
        run = train.train(tiny(**SHORT), splits, out=out, resume=True, device="cpu")
        torch.save({"step": run.step, "method": run.method.state_dict()}, out / f"final.{distributed.rank()}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    register_the_pages_method()
    task, path, *rest = sys.argv[1:]
    if task == "alone":
        parts = toys(PICTURES)
        torch.save({form: list(trajectory(form, parts)) for form in FORMS}, path)
    elif task == "proof":
        proof(Path(path), Path(*rest))
    else:
        short(Path(path), *map(int, rest))
