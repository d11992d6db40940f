"""GLNet: its loss against loops, closed forms and lightly, its location labels, and who learns from what."""

import dataclasses
import math

import pytest
import torch
from conftest import tiny
from oracles import slow_multi_positive_nt_xent
from torch import nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.losses import l2_normalize, supervised_contrastive
from mnclglf_lite.methods.glnet import multi_positive_nt_xent
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import train
from mnclglf_lite.views import montage
from mnclglf_lite.views.view import View

BASES = ("moco_v3", "simclr")


def batch(method, n=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, v.size, v.size, generator=generator).to(dtype) for v in method.views]


def ready(dtype=torch.float32, **changes):
    """A method with draws of its own and no layer that starts at zero."""
    method = build_method(tiny("glnet", **changes), 10).to(dtype)
    for name, p in method.named_parameters():
        if name.endswith("bn2.weight"):
            nn.init.ones_(p)
    method.generator = torch.Generator().manual_seed(1)
    return method


def embeddings(n=3, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4 * n, d, generator=generator, dtype=torch.float64) for _ in range(2)]


# --- the contrast ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_contrast_is_the_formula_written_as_loops(n, temperature):
    for seed in range(2):
        a, b = embeddings(n, seed=seed)
        slow = slow_multi_positive_nt_xent(a, b, n, temperature)
        assert float(multi_positive_nt_xent(a, b, temperature)) == pytest.approx(slow, abs=1e-9)


def test_the_contrast_is_the_shared_loss_with_the_picture_as_class():
    n = 4
    a, b = embeddings(n)
    both, picture = torch.cat([l2_normalize(a), l2_normalize(b)]), torch.arange(n).repeat(8)
    torch.testing.assert_close(multi_positive_nt_xent(a, b, 0.3), supervised_contrastive(both @ both.T / 0.3, picture))


def test_the_contrast_is_lightlys_nt_xent_over_the_seven_ways_to_pair_eight_patches():
    """Member m with member m xor k, k = 1 ... 7: every pair comes up once, and NT-Xent's denominator is the same."""
    lightly = pytest.importorskip("lightly.loss")
    n = 4
    a, b = (x.float() for x in embeddings(n, d=8))
    members = torch.cat([a, b]).unflatten(0, (8, n))  # (8, N, D)
    values = []
    for k in range(1, 8):
        left = [m for m in range(8) if m < m ^ k]
        one, two = members[left].flatten(0, 1), members[[m ^ k for m in left]].flatten(0, 1)  # (4N, D) each
        values.append(lightly.NTXentLoss(temperature=0.3)(one, two))
    assert float(multi_positive_nt_xent(a, b, 0.3)) == pytest.approx(float(sum(values) / 7), abs=2e-6)


@pytest.mark.parametrize("n", [2, 8, 32])
def test_closed_forms_of_the_contrast(n):
    """Nothing alike, all alike: a uniform guess among the others. Pictures alike and apart from each other: the best."""
    apart = torch.eye(8 * n, dtype=torch.float64)
    guess = math.log(8 * n - 1)
    assert float(multi_positive_nt_xent(apart[: 4 * n], apart[4 * n :], 0.3)) == pytest.approx(guess)
    same = torch.ones(4 * n, 3, dtype=torch.float64)
    assert float(multi_positive_nt_xent(same, same, 0.3)) == pytest.approx(guess)
    own = torch.eye(n, dtype=torch.float64).repeat(4, 1)  # (4N, N)
    best = math.log(7 * math.exp(1 / 0.3) + 8 * (n - 1)) - 1 / 0.3
    assert float(multi_positive_nt_xent(own, own, 0.3)) == pytest.approx(best)
    # random directions: the same guess, and half the variance 1 / (D T^2) of the logits on top
    a, b = embeddings(n, d=512)
    assert float(multi_positive_nt_xent(a, b, 0.3)) == pytest.approx(guess + 0.5 / 512 / 0.3**2, abs=0.02)


def test_the_published_sum_starts_where_the_published_log_does():
    """github.com/WilyZhao8/W2SSL logs 67.4 at the start: 2048 vectors in each of two sums, times T / 0.07."""
    apart = torch.eye(2048)
    mean_form = multi_positive_nt_xent(apart[:1024], apart[1024:], 0.3)
    assert float(2 * 0.3 / 0.07 * mean_form) == pytest.approx(65.3, abs=0.1)


def test_the_gradient_of_the_contrast_is_that_of_the_formula():
    a, b = (x.requires_grad_() for x in embeddings(2, d=3))
    assert torch.autograd.gradcheck(lambda x, y: multi_positive_nt_xent(x, y, 0.5), (a, b))


def test_half_precision_embeddings_are_compared_in_full():
    a, b = (x.float() for x in embeddings(8, d=16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = multi_positive_nt_xent(a.bfloat16(), b.bfloat16(), 0.1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, multi_positive_nt_xent(a.bfloat16().float(), b.bfloat16().float(), 0.1))


# --- the method --------------------------------------------------------------------------------------------------------


def test_eight_views_two_of_each_quadrant():
    recipe = tiny("glnet", view=View(size=16, blur_p=0.0, scale=(0.5, 1.0)))
    views = build_method(recipe, 10).views
    assert [v.source_region for v in views] == [*montage.REGIONS, *montage.REGIONS]
    assert [v.solarize_p for v in views] == [0.5] * 4 + [0.2] * 4
    rest = {dataclasses.replace(v, source_region=(0, 0, 1, 1), solarize_p=0.0) for v in views}
    assert rest == {dataclasses.replace(recipe.views.view, size=8)}
    assert {v.flip_p for v in build_method(recipe.replace(flip_patches="before"), 10).views} == {0.0}


@pytest.mark.parametrize("base", BASES)
def test_the_loss_is_the_formula_of_its_outputs(base):
    method = ready(torch.float64, framework=base, temperature=0.3, location_weight=0.4)
    out = method(batch(method, 4, dtype=torch.float64))
    assert out["z1"].shape == (16, 8) and out["h1"].shape == (16, method.backbone.dim)
    if base == "simclr":
        expected = slow_multi_positive_nt_xent(out["z1"], out["z2"], 4, 0.3)
    else:
        expected = sum(slow_multi_positive_nt_xent(out[p], out[k], 4, 0.3) for p, k in (("p1", "k2"), ("p2", "k1"))) / 2
    assert out["loss_global"].item() == pytest.approx(expected, abs=1e-9)
    # quadrant q of picture i is row 4 * q + i
    logits, location = method.location(out["h1"]).tolist(), 0.0
    for row, scores in enumerate(logits):
        location -= (scores[row // 4] - math.log(sum(map(math.exp, scores)))) / 16
    assert out["loss_location"].item() == pytest.approx(location, abs=1e-6)  # its logits are float32
    assert out["loss"].item() == pytest.approx(expected + 0.4 * location, abs=1e-6)


class Echo(nn.Module):
    """A backbone whose last map is the montage itself, so that every patch's vector is its mean colour."""

    stages, dim = ["echo"], 3

    def maps(self, x):
        return {"echo": x}


class Reader(nn.Module):
    """A location head that reads the place off a patch whose colour is its number."""

    def forward(self, h):
        return 100 * torch.eye(4)[h[:, 0].round().long()]


@pytest.mark.parametrize("one_order", [True, False])
def test_every_vector_comes_back_to_its_own_patch_and_place(one_order):
    method, n = ready(same_order=one_order), 6
    method.backbone = method.momentum_backbone = Echo()
    method.projector = method.momentum_projector = method.predictor = nn.Identity()
    method.location = nn.Linear(3, 4)
    numbers = torch.arange(8.0 * n).view(8, n)
    out = method([x[:, None, None, None].expand(-1, 3, 8, 8) for x in numbers])
    for key, value in (("z1", numbers[:4]), ("z2", numbers[4:]), ("k1", numbers[:4]), ("k2", numbers[4:])):
        assert torch.equal(out[key], value.reshape(-1, 1).expand(-1, 3)), key
    method.location = Reader()
    places = [torch.full((n, 3, 8, 8), float(q)) for q in (0, 1, 2, 3)]
    out = method(places + places[::-1])  # the second view's places are nobody's business
    assert float(out["location"]) == 1.0 and float(out["loss_location"]) == pytest.approx(0.0, abs=1e-6)
    # as many of each place: whoever says the same of all is right once in four
    out = method([torch.full((n, 3, 8, 8), 2.0)] * 8)
    assert float(out["location"]) == 0.25 and float(out["loss_location"]) == pytest.approx(75.0)


@pytest.mark.parametrize(("one_order", "alike"), [(True, 4), (False, 2)])
def test_one_permutation_for_both_views_or_one_each(one_order, alike, monkeypatch):
    method = ready(same_order=one_order)
    orders, glue = [], montage.glue
    monkeypatch.setattr(montage, "glue", lambda x, order: orders.append(order) or glue(x, order))
    for _ in range(2):
        method(batch(method))
    assert all(torch.equal(order.sort().values, torch.arange(64)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 8 // alike  # and a new one at each step


def test_the_permutation_comes_from_the_runs_own_draws():
    method = ready()
    views, state = batch(method), torch.get_rng_state()
    one, two = method(views)["loss"], method(views)["loss"]
    method.generator.manual_seed(1)
    assert torch.equal(method(views)["loss"], one) and not torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)


def test_mirrored_before_the_cut_is_one_coin_a_picture_for_all_its_patches():
    n = 64
    method = ready(flip_patches="before")
    views = batch(method, n)
    first, second = (x.unflatten(0, (4, n)) for x in method.patches_of(views))
    assert first.flatten(0, 1).shape == second.flatten(0, 1).shape == (4 * n, 3, 8, 8)
    coins = 0
    for i in range(n):
        for patches, cut in ((first, views[:4]), (second, views[4:])):
            swapped = [cut[q][i].flip(-1) for q in (2, 3, 0, 1)]
            mirrored = all(torch.equal(patches[q, i], swapped[q]) for q in range(4))
            assert mirrored or all(torch.equal(patches[q, i], cut[q][i]) for q in range(4))
            coins += mirrored
    assert coins % 2 == 0 and 0.25 < coins / (2 * n) < 0.75  # both views alike; half of the pictures, 4 standard errors
    method = ready(flip_patches="after")
    assert all(
        torch.equal(x, torch.cat(cut)) for x, cut in zip(method.patches_of(views), (views[:4], views[4:]), strict=True)
    )


def test_gradient_reaches_the_student_alone():
    method = ready(torch.float64)
    out = method(batch(method, dtype=torch.float64))
    out["loss"].backward()
    for name, p in method.named_parameters():
        taught = not name.startswith("momentum_")
        assert p.requires_grad == taught and (p.grad is not None) == taught, name
        if name.endswith("weight") and taught:
            assert p.grad.abs().max() > 1e-9, name
    assert {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad} == {
        "backbone", "projector", "predictor", "location",
    }  # fmt: skip
    assert not out["k1"].requires_grad and not out["k2"].requires_grad


def test_on_simclrs_frame_there_is_no_twin_and_both_halves_learn():
    method = ready(torch.float64, framework="simclr")
    assert {name for name, _ in method.named_children()} == {"backbone", "projector", "location"}
    out = method(batch(method, dtype=torch.float64))
    assert "p1" not in out and "k1" not in out
    grads = torch.autograd.grad(out["loss_global"], [out["z1"], out["z2"]])
    assert all((g.abs().sum(1) > 0).all() for g in grads)  # every single vector


def test_the_location_loss_is_asked_of_view_1_alone_and_of_no_head_of_the_contrast():
    method = ready(torch.float64)
    out = method(batch(method, dtype=torch.float64))
    inputs = [out["h1"], out["h2"], method.location.weight, method.projector[0].weight]
    h1, h2, head, projector = torch.autograd.grad(out["loss_location"], inputs, allow_unused=True)
    assert h1.abs().max() > 0 and head.abs().max() > 0 and h2 is None and projector is None


def test_the_twin_starts_as_a_copy_and_follows_ever_more_slowly():
    method = ready(ema=0.9, ema_end=1.0)
    online, twin = method.backbone.conv1.weight, method.momentum_backbone.conv1.weight
    head, twin_head = method.projector[0].weight, method.momentum_projector[0].weight
    assert torch.equal(head, twin_head) and torch.equal(online, twin)
    out = method(batch(method))
    own = method.momentum_backbone.bn1.running_mean.clone()
    for progress, momentum in ((0.0, 0.9), (0.5, 0.95), (0.25, 1 - 0.1 * (2 + 2**0.5) / 4), (1.0, 1.0)):
        with torch.no_grad():
            online.normal_(generator=method.generator)
            head.normal_(generator=method.generator)
        method.progress.fill_(progress)
        expected = [momentum * t + (1 - momentum) * o for t, o in ((twin, online), (twin_head, head))]
        method.after_step(out)
        torch.testing.assert_close([twin, twin_head], expected)
    assert torch.equal(method.momentum_backbone.bn1.running_mean, own)  # statistics of its own
    method = ready(ema=0.9, ema_end=0.0)  # 0: it stays as it is
    method.progress.fill_(0.7)
    with torch.no_grad():
        method.backbone.conv1.weight.add_(1.0)
    before = method.momentum_backbone.conv1.weight.clone()
    method.after_step(method(batch(method)))
    torch.testing.assert_close(method.momentum_backbone.conv1.weight, before + 0.1)


def test_each_view_has_batch_statistics_of_its_own():
    method = ready()
    method(batch(method))
    assert int(method.backbone.bn1.num_batches_tracked) == 2 == int(method.momentum_backbone.bn1.num_batches_tracked)
    last = method.projector[-1]
    assert isinstance(last, nn.BatchNorm1d) and not last.affine
    assert isinstance(method.predictor[-1], nn.Linear)


def test_labels_change_nothing():
    method = ready()
    views = batch(method)
    with_labels = method(views, torch.arange(16) % 10)["loss"]
    method.generator.manual_seed(1)
    assert torch.equal(with_labels, method(views)["loss"])


def test_a_network_too_deep_for_its_montages_is_refused():
    method = build_method(tiny("glnet", blocks=(1, 1, 1, 1), stem="imagenet"), 10)  # 16 pixels / 32: a map of one cell
    with pytest.raises(InputError, match="a map of 1x1 cannot be split"):
        method(batch(method))


@pytest.mark.parametrize("base", BASES)
def test_it_learns_on_a_small_toy_box(base, toys):
    run = train.train(tiny("glnet", framework=base, steps=60), toys, device="cpu", log=lambda text: None)
    assert run.history[-1]["loss_global"] < run.history[0]["loss_global"] - 0.1
    assert 0.2 < run.history[-1]["location"] < 0.6
