"""Small views: who meets whom, which statistics they see, and that without them nothing is different."""

import pytest
import torch
from conftest import QUIET, interrupt_after, read_by, same, tiny
from oracles import cosine, slow_nt_xent
from test_methods import assert_order_does_not_matter, batch

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.losses import info_nce, nt_xent
from mnclglf_lite.methods.multicrop import cross_view_mean, forward_together
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import train
from mnclglf_lite.views import batch as views_batch
from mnclglf_lite.views.view import View, render_view

WITH_SMALL_VIEWS = ("simclr", "byol", "mnclglf")
SMALL = View(size=8, scale=(0.05, 0.4), blur_p=0.0)
WHOLE = {"simclr": 2, "byol": 2, "mnclglf": 3}  # whole views


def cropped(name, n=2, **changes):
    return tiny(name, small_views=n, small_view=SMALL, **changes)


def stepped(recipe, dtype=torch.float64):
    """The method, its views (which take gradient) and its outputs."""
    method = build_method(recipe, 10).to(dtype)
    for name, p in method.named_parameters():
        if name.endswith("bn2.weight"):  # zero at the start, which would hide the layers before it
            torch.nn.init.ones_(p)
    views, labels = batch(recipe, method, dtype=dtype)
    views = [x.requires_grad_() for x in views]
    return method, views, method(views, labels)


def test_across_takes_every_target_with_every_view_but_its_own():
    met = []

    def loss(target, anchor):
        met.append((target, anchor))
        return torch.tensor(float(len(met)))

    assert cross_view_mean(loss, "AB", "abcd").item() == pytest.approx((1 + 2 + 3 + 4 + 5 + 6) / 6)
    assert sorted(met) == [("A", "b"), ("A", "c"), ("A", "d"), ("B", "a"), ("B", "c"), ("B", "d")]


def test_together_is_one_batch_with_one_set_of_statistics_and_keeps_the_views_in_order():
    norm = torch.nn.BatchNorm1d(3).double()
    a, b = (torch.randn(5, 3, dtype=torch.float64) + shift for shift in (0, 4))
    one, two = forward_together(norm, [a, b])
    both = torch.cat([a, b])
    wanted = (both - both.mean(0)) / (both.var(0, unbiased=False) + norm.eps).sqrt()
    torch.testing.assert_close(one, wanted[:5])
    torch.testing.assert_close(two, wanted[5:])
    assert int(norm.num_batches_tracked) == 1 and forward_together(norm, []) == ()


@pytest.mark.parametrize("name", WITH_SMALL_VIEWS)
def test_small_views_follow_the_whole_ones(name):
    recipe = cropped(name, 3)
    method = build_method(recipe, 10)
    assert method.views == (recipe.views.view,) * WHOLE[name] + (SMALL,) * 3
    assert set(method.state_dict()) == set(build_method(tiny(name), 10).state_dict())  # they bring no weights of their own


@pytest.mark.parametrize("n", [0, 1, 3])
def test_simclr_is_the_mean_over_whole_views_and_all_others(n):
    recipe = cropped("simclr", n, temperature=0.3)
    _, _, out = stepped(recipe)
    z = [out[f"z{v}"] for v in range(1, 3 + n)]
    pairs = [slow_nt_xent(z[g], z[v], 0.3) for g in range(2) for v in range(2 + n) if v != g]
    assert len(pairs) == 2 * (n + 1)
    assert out["loss"].item() == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_mnclglf_adds_anchors_to_the_global_term_alone(n):
    recipe = cropped("mnclglf", n, temperature=0.3, local_weight=1.0, global_weight=6.0)
    _, _, out = stepped(recipe)
    pairs = [slow_nt_xent(out["n3"], out["p1"], 0.3), slow_nt_xent(out["n1"], out["p3"], 0.3)]
    for v in range(4, 4 + n):
        pairs += [slow_nt_xent(out["n1"], out[f"p{v}"], 0.3), slow_nt_xent(out["n3"], out[f"p{v}"], 0.3)]
    assert out["loss_global"].item() == pytest.approx(sum(pairs) / (2 + 2 * n), abs=1e-9)
    local = [info_nce(out["p1"], c, 0.3) for c in out["c2"]] + [info_nce(out["p2"], c, 0.3) for c in out["c1"]]
    assert out["loss_local"].item() == pytest.approx(sum(x.item() for x in local) / 12, abs=1e-9)
    assert out["loss"].item() == pytest.approx(out["loss_local"].item() + 6 * sum(pairs) / (2 + 2 * n), abs=1e-9)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_byol_is_twice_the_mean_over_the_twins_answers_and_all_other_views(n):
    method, views, out = stepped(cropped("byol", n))
    with torch.no_grad():
        m = [method.momentum_projector(method.momentum_backbone(x)) for x in views[:2]]
    for g in range(2):
        assert torch.equal(out[f"m{g + 1}"], m[g])
    assert "m3" not in out  # no small view is ever an answer
    p = [out[f"p{v}"].tolist() for v in range(1, 3 + n)]
    pairs = [
        sum(2 - 2 * cosine(a, b) for a, b in zip(p[v], m[g].tolist(), strict=True)) / len(m[g])
        for g in range(2)
        for v in range(2 + n)
        if v != g
    ]
    assert out["loss"].item() == pytest.approx(2 * sum(pairs) / (2 * (n + 1)), abs=1e-9)


def test_without_small_views_simclr_is_bit_for_bit_what_it_was():
    recipe = tiny("simclr")
    method, views, out = stepped(recipe, torch.float32)
    twin = stepped(recipe, torch.float32)[0]
    value = nt_xent(*(twin.projector(twin.backbone(x)) for x in views), recipe.method.temperature)
    assert torch.equal(out["loss"], value)
    ours = torch.autograd.grad(out["loss"], list(method.parameters()))
    assert all(map(torch.equal, ours, torch.autograd.grad(value, list(twin.parameters()))))


@pytest.mark.parametrize("local_gradient", [True, False])
def test_without_small_views_mnclglf_is_bit_for_bit_what_it_was(local_gradient):
    recipe = tiny(local_gradient=local_gradient)
    method, (x1, x2, x3), out = stepped(recipe, torch.float32)
    twin = stepped(recipe, torch.float32)[0]
    (_, p1), (_, p2), (_, p3) = (twin.embed(x) for x in (x1, x2, x3))
    c1, c2 = (twin.local_targets(patches) for patches in twin.patches_of([x1, x2, x3]))
    with torch.no_grad():
        n1, n3 = (twin.queue.nearest(twin.momentum_projector(twin.momentum_backbone(x)))[0] for x in (x1, x3))
    t, (a1, a2) = recipe.method.temperature, (p1, p2) if local_gradient else (p1.detach(), p2.detach())
    local = torch.stack([info_nce(a1, c, t) for c in c2] + [info_nce(a2, c, t) for c in c1]).mean()
    value = recipe.method.local_weight * local + recipe.method.global_weight * (nt_xent(n3, p1, t) + nt_xent(n1, p3, t)) / 2
    assert torch.equal(out["loss_local"], local) and torch.equal(out["loss"], value)
    params = [[p for p in m.parameters() if p.requires_grad] for m in (method, twin)]
    ours, theirs = torch.autograd.grad(out["loss"], params[0]), torch.autograd.grad(value, params[1])
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("name", WITH_SMALL_VIEWS)
def test_every_small_view_teaches_the_online_network(name):
    _, views, out = stepped(cropped(name))
    for gradient in torch.autograd.grad(out["loss"], views):
        assert gradient.abs().max() > 0


def test_small_views_never_meet_each_other_in_simclr():
    """What z4 is told must not depend on z3: the gradient stays the same where z3 is replaced."""
    z = [torch.randn(6, 4, dtype=torch.float64, requires_grad=True) for _ in range(5)]
    method = build_method(cropped("simclr"), 10)
    gradients = []
    for third in (z[2], z[4]):
        feed = iter((z[0], z[1], torch.cat([third, z[3]])))
        method.embed = lambda x, feed=feed: next(feed)
        loss = method([torch.empty(0)] * 4)["loss"]
        gradients.append(torch.autograd.grad(loss, [z[3], z[0]]))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert not torch.allclose(gradients[0][1], gradients[1][1])  # z1 meets both


def test_in_mnclglf_small_views_reach_the_global_term_only_and_no_target_sees_them():
    _, views, out = stepped(cropped("mnclglf"))
    reach = torch.autograd.grad(out["loss_local"], views[3:], allow_unused=True, retain_graph=True)
    assert reach == (None, None)
    reach = torch.autograd.grad(out["loss_global"], [out["p4"], out["p5"]])
    assert all(gradient.abs().max() > 0 for gradient in reach)


@pytest.mark.parametrize("n, passes", [(0, 0), (1, 1), (3, 1)])
def test_all_small_views_are_one_pass_of_every_part(n, passes):
    method, _, _ = stepped(cropped("simclr", n))
    assert int(method.backbone.bn1.num_batches_tracked) == int(method.projector[1].num_batches_tracked) == 2 + passes
    method, _, _ = stepped(cropped("byol", n))
    for part in (method.backbone.bn1, method.projector[1], method.predictor[1]):
        assert int(part.num_batches_tracked) == 2 + passes
    assert int(method.momentum_backbone.bn1.num_batches_tracked) == 2  # the twin sees whole views only
    method, _, _ = stepped(cropped("mnclglf", n))
    assert int(method.backbone.bn1.num_batches_tracked) == int(method.projector[1].num_batches_tracked) == 5 + passes
    assert int(method.predictor[1].num_batches_tracked) == 3 + passes
    assert int(method.momentum_backbone.bn1.num_batches_tracked) == 2


@pytest.mark.parametrize("name", WITH_SMALL_VIEWS)
def test_whole_views_keep_statistics_of_their_own(name):
    """Where small views are added, whole views come out as without them."""
    with_small, without = stepped(cropped(name))[2], stepped(tiny(name))[2]
    for key in without.keys() - {"loss", "loss_global"}:
        torch.testing.assert_close(with_small[key], without[key])


def test_small_views_and_random_local_crops_are_kept_apart():
    recipe = cropped("mnclglf", 2, local="crops")
    method, views, out = stepped(recipe)
    assert len(views) == 3 + 2 + 8
    first, second = method.patches_of(views)
    assert torch.equal(first[0], views[5]) and torch.equal(second[3], views[12])
    assert {"p4", "p5"} <= set(out) and "p6" not in out
    reach = torch.autograd.grad(out["loss"], views, allow_unused=True)
    assert [gradient is None for gradient in reach] == [False] * 5 + [True] * 8


@pytest.mark.parametrize("name", WITH_SMALL_VIEWS)
def test_permuting_the_batch_permutes_the_outputs_of_small_views_too(name):
    assert_order_does_not_matter(cropped(name))


@pytest.mark.parametrize("name", WITH_SMALL_VIEWS)
def test_a_run_with_small_views_and_more_networks_resumes_exactly(name, toys, tmp_path, monkeypatch):
    recipe = cropped(name, 2, steps=30, **read_by(name, num_networks=3))
    whole = train.train(recipe, toys, **QUIET)
    with monkeypatch.context() as patch:
        interrupt_after(7, patch)
        first = train.train(recipe, toys, out=tmp_path, **QUIET)
    assert first.step == 7
    second = train.train(recipe, toys, out=tmp_path, resume=True, **QUIET)
    assert second.finished and same(second, whole)


def test_whole_views_grow_and_small_ones_stay(toys, monkeypatch):
    sides, real = [], render_view
    monkeypatch.setattr(views_batch, "render_view", lambda x, view, draw: sides.append(view.size) or real(x, view, draw))
    train.train(cropped("simclr", progressive_sizes=(12, 16), steps=2), toys, **QUIET)
    assert sides == [12, 12, 8, 8, 16, 16, 8, 8]


def test_a_small_view_that_is_too_small_is_refused():
    for name, changes in (("simclr", {"small_views": 1}), ("mnclglf", {"local": "crops"})):
        with pytest.raises(InputError, match="small_view of 2 pixels is too small; make it at least 4"):
            preset("quick", name, small_view=View(size=2), **changes)
    preset("quick", small_view=View(size=2))  # never cut, so nobody minds
