"""What the solved notebooks define is what the package ships: both are run on the same random input, and agree."""

import copy
import functools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conftest import clouds, tiny
from walk_course import FOLDER, answers, imports

from mnclglf_lite import losses
from mnclglf_lite.evaluation import collapse, knn, layouts
from mnclglf_lite.evaluation.collapse import feature_std
from mnclglf_lite.evaluation.linear import standardize
from mnclglf_lite.explorers.loss import pairs
from mnclglf_lite.explorers.loss.batch import Batch
from mnclglf_lite.losses import cosine_logits, info_nce_queue
from mnclglf_lite.models.memory_queue import Queue
from mnclglf_lite.models.momentum import update_ema
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results import compare
from mnclglf_lite.training import step
from mnclglf_lite.training.run import lr_factor, new_run
from mnclglf_lite.views import crops, montage
from mnclglf_lite.views.crops import crop_resize
from mnclglf_lite.views.named_views import TOY_VIEW
from mnclglf_lite.views.patches import average_combinations, grid_patches

G = torch.Generator().manual_seed(5)


@functools.cache
def notebook(number):
    """What a solved notebook's exercises define, on top of its imports; the checks' own words are swallowed."""
    space = {}
    exec(imports(number), space)
    for _, right, _ in answers(number).values():
        exec(right.split("= check(")[0].rsplit("\n", 1)[0], space)  # its definition alone: `check` might replace it
    return SimpleNamespace(**space)


def rows(n, d):
    return torch.randn(n, d, generator=G) * torch.arange(1, n + 1)[:, None]


def same(a, b, **near):
    assert torch.allclose(torch.as_tensor(a).float(), torch.as_tensor(b).float(), **{"rtol": 1e-4, "atol": 1e-5} | near)


def views_for(method, n=8, size=16):
    torch.manual_seed(3)
    return [torch.randn(n, 3, view.size, view.size) for view in method.views]


def test_01_crops(toys):
    n, scale, ratio = notebook("01"), (0.1, 0.4), (3 / 4, 4 / 3)  # all first attempts fit
    draw = torch.rand(500, 22, generator=torch.Generator().manual_seed(9))
    boxes = crops.sample_boxes(500, (32, 32), scale, ratio, torch.Generator().manual_seed(9))
    same(n.sides(draw[:, 0], draw[:, 10], scale, ratio, (32, 32)).round(), boxes[:, 2:])
    images = toys.train.images[:20]
    boxes = crops.sample_boxes(20, (16, 16), (0.2, 1.0), ratio, G)
    mine = [n.cut(image, box, 12) for image, box in zip(images, boxes.int().tolist(), strict=True)]
    same(torch.stack(mine), crop_resize(images, boxes, 12), atol=1e-4)
    other = crops.sample_boxes(20, (16, 16), (0.05, 0.3), ratio, G)
    same(n.overlap(boxes, other), crops.overlap(boxes, other))
    assert n.mine == replace(TOY_VIEW, invert_p=0.0)  # inverted views are not among the exercise's choices


def test_02_losses():
    n, a, b = notebook("02"), rows(8, 6), rows(8, 6)
    same(n.cosines(a, b), cosine_logits(a, b, 1.0))
    same(n.info_nce(a, b, 0.3), losses.info_nce(a, b, 0.3))
    same(n.nt_xent(a, b, 0.3), losses.nt_xent(a, b, 0.3))
    table = pairs.loss_table("info_nce", Batch(a, b, rows(4, 6), torch.arange(8)), 0.3)
    same(n.pull_and_push(table.similarity.float(), 0.3), table.gradient)


def test_03_networks():
    n, method = notebook("03"), build_method(tiny("simsiam"), 10)
    out = method(views_for(method))
    same(n.stop_gradient_loss(out["p1"], out["p2"], out["z1"], out["z2"]), out["loss"])
    net = build_method(tiny("byol"), 10)
    mine, theirs = copy.deepcopy(net.momentum_backbone), copy.deepcopy(net.momentum_backbone)
    n.follow(mine, net.backbone, 0.9)
    update_ema(theirs, net.backbone, 0.9)
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        same(a, b)
    queue, entries, pointer = Queue(12, 5), None, 0
    entries = queue.entries.clone()
    for _ in range(5):  # goes round
        new = rows(4, 5)
        queue.push(new)
        entries, pointer = n.push(entries, pointer, new)
        same(entries, queue.entries)
        assert pointer == int(queue.pointer)
    asked = rows(7, 5)
    same(entries[n.nearest(asked, entries)], queue.nearest(asked)[0])


def test_04_mnclglf():
    n, method = notebook("04"), build_method(tiny(local_weight=1.0, global_weight=6.0, temperature=0.3), 10)
    x = torch.randn(5, 3, 16, 16, generator=G)
    same(n.divide(x), grid_patches(x))
    h = torch.randn(4, 5, 7, generator=G)
    same(n.combine(h), average_combinations(h))
    views = views_for(method)
    out = method(views)
    same(n.local_targets(views[0], method.backbone, method.projector), out["c1"])
    local = n.local_loss(out["p1"], out["p2"], out["c1"], out["c2"], 0.3)
    same(local, out["loss_local"])
    same(n.whole_loss(local, out["p1"], out["p3"], out["n1"], out["n3"], 0.3, (1.0, 6.0)), out["loss"])


def test_05_training(toys):
    n, asked = notebook("05"), tiny("byol", steps=6, warmup=0.4, precision="fp32")
    for at in range(6):
        assert n.rate(asked, at, 6) == pytest.approx(lr_factor(asked, at, 6))
    mine, theirs = (new_run(asked, 320, 10, torch.device("cpu")) for _ in range(2))
    theirs_step = step.Step(theirs, toys.train.images, toys.train.labels, "eager")
    for _ in range(3):
        index = torch.randperm(320, generator=G)[:16]
        n.one_step(mine, toys.train.images[index])
        theirs_step(index)
    assert mine.step == theirs.step == 3
    for a, b in zip(mine.method.parameters(), theirs.method.parameters(), strict=True):
        same(a, b)
    z = rows(40, 6)
    same(n.spread(z), feature_std(z))
    same(n.rank(z), collapse.effective_rank(z))


def test_06_maps():
    n, (x, _) = notebook("06"), clouds(n=80, d=6)
    flat = layouts.pca(x, 2)
    same(n.share_shown(x, 2), flat.var(dim=0).sum() / x.var(dim=0).sum())
    assert torch.equal(n.nearest(x, 5), knn.nearest_neighbours(x, x, 5, exclude_self=True)[1])


def test_07_measuring():
    n, (x, labels) = notebook("07"), clouds(n=120, d=6)
    bank, known, queries, truth = x[:90], labels[:90], x[90:], labels[90:]
    share = (n.votes(bank, known, queries, 20, 0.1).argmax(dim=1) == truth).double().mean()
    same(share, knn.knn(bank, known, queries, truth, knn.KnnProtocol(k=20), 4)["top1"])
    for a, b in zip(n.standardised(bank, queries), standardize(bank, queries), strict=True):
        same(a, b)


def test_08_relatives():
    n, q, k, entries = notebook("08"), rows(6, 5), rows(6, 5), rows(9, 5)
    same(n.queue_nce(q, k, entries, 0.2), info_nce_queue(q, k, entries, 0.2))
    same(n.towards(q, k), losses.negative_cosine(q, k))
    queue = Queue(9, 5)
    queue.entries.copy_(entries)
    same(n.swap(q, queue.entries), queue.nearest(q)[0])
    parts, order = torch.randn(12, 3, 4, 4, generator=G), torch.randperm(12, generator=G)
    same(n.send_home(montage.split(montage.glue(parts, order)), order), parts.mean(dim=(2, 3)))
    student, teacher = rows(6, 9), rows(6, 9)
    same(n.imitate(student, teacher, 0.2, 0.05), losses.soft_cross_entropy(student / 0.2, (teacher / 0.05).softmax(dim=1)))


def test_09_tables():
    n, asked = notebook("09"), tiny("simclr", steps=0, epochs=3.0, batch_size=32)
    assert n.steps_of(330, 32, 3) == new_run(asked, 330, 10, torch.device("cpu")).total_steps
    kept = json.loads((FOLDER.parent / "data" / "runs" / "cifar10-slim" / "compare.json").read_text())
    linear = {name: row["runs"][0]["linear"]["top1"] for name, row in kept["rows"].items()}
    ratios = n.against(linear, "simclr")
    table = {cells[0]: cells for cells in map(lambda text: [c.strip() for c in text.strip("| ").split("|")],
             compare.table(kept, markdown=True).splitlines()) if cells[0] in ratios and len(cells) > 8}  # fmt: skip
    assert len(table) == len(ratios)
    for name, ratio in ratios.items():
        assert table[name][6] == f"{ratio:.3f}"
