"""What a step costs: the counter against FLOPs counted by hand, layer by layer; views against what the loop really cuts."""

import pytest
import torch
from conftest import tiny
from oracles import slow_flops

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.registry import METHODS, VARIANTS, variant
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import cost, train
from mnclglf_lite.training.cost import relative_flops, views_per_image
from mnclglf_lite.training.optimiser import make_optimiser
from mnclglf_lite.views import batch as views_batch
from mnclglf_lite.views.patches import grid_patches
from mnclglf_lite.views.view import render_view


def named(name, **changes):
    method, more = variant(name)
    usual = tiny(method, **more)
    return usual.replace(**{name: value for name, value in changes.items() if usual.reads(name)})


def nt_xent_flops(n, d):
    return 3 * 2 * (2 * n) ** 2 * d  # one product forward, and one for each of its factors backward


def test_a_step_of_simclr_and_of_the_supervised_reference_counted_by_hand():
    recipe, n = tiny("simclr"), 6
    method = build_method(recipe, 10)
    net, first = slow_flops(method.backbone, n, 3, 16, 16)
    head, _ = slow_flops(method.projector, n, method.backbone.dim)
    learning = 3 * net - first + 3 * head  # backward is two forwards, but nobody asks for the gradient of a picture
    assert cost.step_flops(method, n) == 2 * learning + nt_xent_flops(n, 8)

    method = build_method(tiny("supervised"), 10)
    head, _ = slow_flops(method.classifier, n, method.backbone.dim)
    assert cost.step_flops(method, n) == 3 * net - first + 3 * head


@pytest.mark.parametrize("released", [False, True])
def test_a_step_of_mnclglf_counted_by_hand(released):
    recipe, n, d = tiny("mnclglf", local_gradient=not released), 6, 8
    method = build_method(recipe, 10)
    x = torch.zeros(n, 3, 16, 16)
    net, first = slow_flops(method.backbone, *x.shape)
    quarters, _ = slow_flops(method.backbone, *grid_patches(x).flatten(0, 1).shape)
    assert quarters == net  # four quarters cost a whole view
    project, _ = slow_flops(method.projector, n, method.backbone.dim)
    predict, _ = slow_flops(method.predictor, n, d)
    learning = 3 * net - first + 3 * (project + predict)
    views = 2 * learning + net + project + predict if released else 3 * learning  # as released, x2 is only looked at
    local = 2 * (quarters + 6 * project)  # six pairs of patches of x1 and of x2
    twin = 2 * (net + project + 2 * n * recipe.method.queue * d)
    pairs = 12 * 2 * n * n * d * (1 if released else 2)
    assert cost.step_flops(method, n) == views + local + twin + pairs + 2 * nt_xent_flops(n, d)


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_two_tiny_batches_tell_the_cost_of_any(name):
    recipe = named(name, batch_size=16)
    whole, (one, _) = (
        cost.step_flops(build_method(recipe, 10), 16),
        slow_flops(build_method(recipe, 10).backbone, 16, 3, 16, 16),
    )
    assert relative_flops(recipe, build_method(recipe, 10)) == pytest.approx(whole / one, rel=1e-9)


# forward 1, backward 2; a twin's forward 1; what is looked at without gradient 1
UNITS = {
    "supervised": 3, "simclr": 6, "moco": 8, "moco-oneway": 4, "simsiam": 6, "byol": 8, "nnclr": 6, "fastmoco": 8,
    "mnclglf": 13, "mnclglf-released": 11, "mcl": 8, "mcl-one": 4, "cgh": 4, "ressl": 4, "glnet": 8,
}  # fmt: skip


@pytest.mark.parametrize("name", UNITS)
def test_forward_units_are_the_known_ones_and_the_heads_little(name):
    """The network is large beside its heads: they, and the first layer's missing gradient, are the few percent left."""
    small = {"projector": (16, 8), "predictor_hidden": 8, "queue": 32, "batch_size": 16}
    recipe = named(name, width=32, blocks=(1, 1, 1), **small)
    assert relative_flops(recipe, build_method(recipe, 10)) == pytest.approx(UNITS[name], rel=0.05)


def test_parameters_are_those_that_the_optimiser_moves():
    for name in (*METHODS, *VARIANTS):
        method = build_method(named(name), 10)
        moved = make_optimiser(named(name), method).param_groups
        assert cost.cost_of(named(name), method).parameters == sum(p.numel() for g in moved for p in g["params"]), name
    method = build_method(tiny("mnclglf"), 10)
    twins = sum(p.numel() for part in (method.momentum_backbone, method.momentum_projector) for p in part.parameters())
    assert cost.cost_of(tiny("mnclglf"), method).parameters == sum(p.numel() for p in method.parameters()) - twins


# --- image views ---


@pytest.mark.parametrize("name, views", [
    ("supervised", 1), ("simclr", 2), ("moco", 2), ("byol", 2), ("fastmoco", 2), ("mnclglf", 3), ("mnclglf-released", 3),
    ("glnet", 2), ("mnclglf-crops", 3 + 8 * (8 / 16) ** 2),
])  # fmt: skip
def test_views_a_picture_of_the_methods(name, views):
    local = tiny().method.small_view
    recipe = named(name, small_view=type(local)(size=8, scale=local.scale))
    assert views_per_image(recipe, build_method(recipe, 10)) == pytest.approx(views)


@pytest.mark.parametrize("name, changes", [
    ("simclr", {}), ("simclr", {"progressive_sizes": (8, 12, 16)}),
    ("simclr", {"small_views": 3, "progressive_sizes": (8, 16)}), ("mnclglf-crops", {}), ("glnet", {}), ("supervised", {}),
])  # fmt: skip
def test_views_a_picture_are_the_pixels_that_the_loop_cuts(name, changes, toys, monkeypatch):
    local = tiny().method.small_view
    recipe = named(name, steps=6, small_view=type(local)(size=8, scale=local.scale), **changes)
    pixels, real = [], render_view

    def spy(images, view, draw):
        pixels.append(len(images) * view.size**2)
        return real(images, view, draw)

    monkeypatch.setattr(views_batch, "render_view", spy)
    train.train(recipe, toys, device="cpu", log=lambda text: None)
    monkeypatch.undo()
    a_picture = sum(pixels) / 16**2 / (6 * recipe.optim.batch_size)
    assert views_per_image(recipe, build_method(recipe, 10)) == pytest.approx(a_picture)


def test_steps_for_views_come_as_near_as_whole_batches_can():
    for shown, batch, per_picture in ((4000, 256, 2.0), (4000, 128, 3.0), (100_000, 64, 3.5), (1, 256, 2.0)):
        steps = cost.steps_for_views(shown, tiny(batch_size=batch, queue=256), per_picture)
        assert steps >= 1 and (steps == 1 or abs(steps * batch * per_picture - shown) <= batch * per_picture / 2)
    with pytest.raises(InputError, match="image_views must be at least 1; got 0"):
        cost.steps_for_views(0, tiny(), 2.0)


def test_the_cost_of_a_network_with_statistics_of_parts_of_the_batch():
    """Eight groups need at least sixteen pictures, also where the backbone alone is counted."""
    units = [relative_flops(r, build_method(r, 10)) for r in (tiny("moco", bn_splits=g, batch_size=32) for g in (1, 8))]
    assert units[1] == pytest.approx(units[0], rel=1e-6)
