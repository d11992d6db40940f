"""CGH: the teacher's distribution in one context teaches the student in the other."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny
from oracles import slow_cgh

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.models.batchnorm import SplitBatchNorm
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.views.view import View

# The published temperatures, whatever the presets say
PAPER = {"temperature": 0.1, "teacher_temperature": 0.04, "hyper_temperatures": (0.08, 0.07), "ramp": 0.5}
WEAK = View(size=16, jitter_p=0.0, gray_p=0.0, blur_p=0.0)


def made(**changes):
    """A recipe, its method in float64 with every layer awake, and views."""
    recipe = tiny("cgh", teacher_view=WEAK, **{**PAPER, **changes})
    method = build_method(recipe, 10).double()
    for name, p in method.named_parameters():
        if name.endswith("bn2.weight"):  # zero at the start, which would hide the layers before it
            torch.nn.init.ones_(p)
    return recipe, method, views_of(recipe, method)


def views_of(recipe, method, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(recipe.optim.batch_size, 3, v.size, v.size, generator=generator, dtype=torch.float64)
        for v in method.views
    ]


@pytest.mark.parametrize("context", ["cross", "same", "ressl"])
@pytest.mark.parametrize("progress, share", [(0.0, 0.0), (0.2, 0.4), (0.5, 1.0), (1.0, 1.0)])
def test_the_loss_is_the_formula_at_every_point_of_the_ramp(context, progress, share):
    _, method, views = made(context=context)
    method.progress.fill_(progress)
    queues = {name: queue.entries.clone() for name, queue in method.queues.items()}
    out = method(views)
    soft, nce = slow_cgh(out, queues, context)
    assert set(soft) == ({"global"} if context == "ressl" else {"global", "hyper"})
    for name, value in soft.items():
        assert out[f"loss_{name}"].item() == pytest.approx(value, abs=1e-6)
    assert out["loss_nce"].item() == pytest.approx(nce, abs=1e-6)
    assert out["share"].item() == pytest.approx(share, abs=1e-6)
    expected = (1 - share) * nce + share * sum(soft.values()) / len(soft)
    assert out["loss"].item() == pytest.approx(expected, abs=1e-6)


def test_without_a_ramp_there_is_no_nce_at_all():
    _, method, views = made(ramp=0.0)
    out = method(views)
    torch.testing.assert_close(out["loss"], (out["loss_global"] + out["loss_hyper"]) / 2)


def test_the_hypercolumn_is_the_last_map_on_top_of_the_one_before_shrunk_by_means():
    _, method, views = made()
    student = method.student
    maps = student.backbone.maps(views[0])
    assert maps["layer1"].shape[1:] == (8, 8, 8) and maps["layer2"].shape[1:] == (16, 4, 4)
    column = torch.cat([F.avg_pool2d(maps["layer1"], 2), maps["layer2"]], dim=1)
    torch.testing.assert_close(student.column(maps), column)
    conv, norm, _ = student.mix
    assert conv.bias is None and conv.weight.shape == (16, 24, 1, 1)
    mixed = torch.einsum("nchw,dc->ndhw", column, conv.weight[:, :, 0, 0])
    mean, variance = mixed.mean(dim=(0, 2, 3)), mixed.var(dim=(0, 2, 3), unbiased=False)
    normed = (mixed - mean[:, None, None]) / (variance[:, None, None] + norm.eps).sqrt()
    expected = student.hyper_projector(normed.relu().mean(dim=(2, 3)))
    torch.testing.assert_close(student(views[0])["hyper"], expected)
    torch.testing.assert_close(student(views[0])["global"], student.projector(maps["layer2"].mean(dim=(2, 3))))


def test_three_stages_take_the_last_two():
    _, method, views = made(blocks=(1, 1, 1))
    maps = method.student.backbone.maps(views[0])
    column = torch.cat([F.avg_pool2d(maps["layer2"], 2), maps["layer3"]], dim=1)
    torch.testing.assert_close(method.student.column(maps), column)


def test_one_stage_makes_no_hypercolumn():
    with pytest.raises(InputError, match=r"a hypercolumn needs two stages; got blocks=\(1,\)"):
        build_method(tiny("cgh", blocks=(1,)), 10)


def test_heads_are_as_the_source_says_where_the_recipe_says_so():
    student = build_method(tiny("cgh", projector_last_norm=False), 10).student
    for head in (student.projector, student.hyper_projector):
        assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]


@pytest.mark.parametrize("norm_groups", [1, 4])
def test_at_the_start_student_and_teacher_agree_on_the_same_views(norm_groups):
    _, method, (x, _) = made(bn_splits=norm_groups, shuffle_bn=norm_groups == 1)
    out = method([x, x])
    for name in ("global", "hyper"):
        torch.testing.assert_close(out[f"s_{name}"], out[f"t_{name}"])


@pytest.mark.parametrize("context", ["cross", "same"])
def test_at_the_start_a_guess_differs_from_its_own_target_by_temperature_alone(context):
    """With equal temperatures, imitating oneself costs the entropy of the target, and no less is possible."""
    _, method, (x, _) = made(context=context, temperature=0.08, teacher_temperature=0.08, hyper_temperatures=(0.08, 0.08))
    out = method([x, x])
    for name in ("global", "hyper"):
        entropy = out[f"perplexity_{name}"].log()
        if context == "same":
            torch.testing.assert_close(out[f"loss_{name}"], entropy)
        else:  # the other context says something else
            assert not torch.isclose(out[f"loss_{name}"], entropy)
    _, method, _ = made(context="same", hyper_temperatures=(0.08, 0.16))  # a student twice as warm: shares to the power 1/2
    out = method([x, x])
    target = out["target_hyper"]
    guess = target.sqrt() / target.sqrt().sum(dim=1, keepdim=True)
    torch.testing.assert_close(out["loss_hyper"], -(target * guess.log()).sum(dim=1).mean())


def test_crossing_pays_where_the_contexts_agree():
    """Both queues and both embeddings alike, all temperatures alike: who teaches whom makes no difference."""
    alike = {"temperature": 0.08, "teacher_temperature": 0.08, "hyper_temperatures": (0.08, 0.08)}
    values = []
    for context in ("cross", "same"):
        _, method, views = made(context=context, **alike)
        method.queues["hyper"].load_state_dict(method.queues["global"].state_dict())
        for part in (method.student, method.teacher):
            part.forward = lambda x, f=part.forward: {"global": (g := f(x)["global"]), "hyper": g}
        values.append(method(views))
    for name in ("loss_global", "loss_hyper", "loss_nce"):
        torch.testing.assert_close(values[0][name], values[1][name])
    torch.testing.assert_close(values[0]["loss_global"], values[0]["loss_hyper"])


@pytest.mark.parametrize("context", ["cross", "same", "ressl"])
def test_gradient_reaches_exactly_the_student(context):
    _, method, views = made(context=context)
    method.progress.fill_(0.2)
    out = method(views)
    names = ["global"] if context == "ressl" else ["global", "hyper"]
    for name in names:
        assert not any(out[key].requires_grad for key in (f"t_{name}", f"target_{name}", f"perplexity_{name}"))
        reached = torch.autograd.grad(
            out[f"loss_{name}"], [out[f"s_{n}"] for n in names], retain_graph=True, allow_unused=True
        )
        for other, grad in zip(names, reached, strict=True):  # a context's loss trains that context alone
            assert (grad is not None and grad.abs().max() > 1e-9) if other == name else grad is None
    out["loss"].backward()
    for name, p in method.named_parameters():
        assert (p.grad is not None) == name.startswith("student.") == p.requires_grad, name
        if name.startswith("student.") and name.endswith("weight"):
            assert p.grad.abs().max() > 1e-9, name


def test_the_hypercolumn_loss_trains_both_stages_below_it():
    _, method, views = made()
    backbone = method.student.backbone
    weights = [backbone.conv1.weight, backbone.layer1[0].conv1.weight, backbone.layer2[0].conv1.weight]
    for grad in torch.autograd.grad(method(views)["loss_hyper"], weights):
        assert grad.abs().max() > 1e-9


def test_the_teacher_sees_the_weak_view_and_the_student_the_strong_one():
    recipe, method, (x, y) = made()
    assert method.views == (recipe.views.view, WEAK)
    base, others = method([x, y]), [method([y, y]), method([x, x])]
    for name in ("global", "hyper"):
        torch.testing.assert_close(others[0][f"t_{name}"], base[f"t_{name}"])
        torch.testing.assert_close(others[1][f"s_{name}"], base[f"s_{name}"])
        assert not torch.allclose(others[1][f"t_{name}"], base[f"t_{name}"])


def test_the_teacher_starts_as_a_copy_of_everything_and_follows_with_statistics_of_its_own():
    recipe, method, views = made(ema=0.9)
    student, teacher = method.student.state_dict(), method.teacher.state_dict()
    assert set(student) == set(teacher) and all(torch.equal(student[key], teacher[key]) for key in student)
    before = [p.clone() for p in method.teacher.parameters()]
    out = method(views)
    own = method.teacher.mix[1].running_mean.clone()
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    method.after_step(out)
    for now, was in zip(method.teacher.parameters(), before, strict=True):
        torch.testing.assert_close(now, was + 0.1)
    assert torch.equal(method.teacher.mix[1].running_mean, own)
    assert not torch.allclose(own, method.student.mix[1].running_mean)


def test_a_slot_holds_the_same_picture_in_both_queues_and_is_filled_after_the_look_up():
    recipe, method, _ = made(queue=48)
    start = {name: queue.entries.clone() for name, queue in method.queues.items()}
    steps = []
    for seed in range(2):
        out = method(views_of(recipe, method, seed))
        if not seed:
            assert all(torch.equal(queue.entries, start[name]) for name, queue in method.queues.items())
        method.after_step(out)
        steps.append(out)
    for name, queue in method.queues.items():
        for step, out in enumerate(steps):
            assert torch.equal(queue.entries[16 * step : 16 * step + 16], out[f"t_{name}"])
        assert torch.equal(queue.entries[32:], start[name][32:])


def test_perplexity_counts_the_entries_that_a_target_spreads_over():
    recipe, method, views = made()
    out = method(views)
    for name in ("global", "hyper"):
        entropies = [-sum(p * math.log(p) for p in row) for row in out[f"target_{name}"].tolist()]
        assert out[f"perplexity_{name}"].item() == pytest.approx(math.exp(sum(entropies) / len(entropies)))
        assert 1 < out[f"perplexity_{name}"] < recipe.method.queue
    for queue in method.queues.values():
        queue.entries.fill_(1.0)  # all alike: the teacher has no opinion
    out = method(views)
    for name in ("perplexity_global", "perplexity_hyper"):
        assert out[name].item() == pytest.approx(recipe.method.queue)


def test_the_controls_start_from_the_same_weights_and_ressl_has_no_hypercolumn():
    states = {context: made(context=context)[1].student.state_dict() for context in ("cross", "same", "ressl")}
    assert not any("hyper" in key or "mix" in key for key in states["ressl"])
    assert set(states["cross"]) == set(states["same"]) > set(states["ressl"])
    for key, value in states["cross"].items():
        assert torch.equal(value, states["same"][key]) and torch.equal(value, states["ressl"].get(key, value))


def test_the_teacher_sees_a_shuffled_batch_whose_embeddings_come_back_in_order():
    recipe, method, views = made(bn_splits=4)
    seen = []
    method.teacher.register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    method.generator = torch.Generator().manual_seed(5)
    method(views)
    order = torch.randperm(recipe.optim.batch_size, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(order, torch.arange(recipe.optim.batch_size)) and torch.equal(seen[0], views[1][order])
    norms = [part.get_submodule(name) for part in (method.student, method.teacher) for name in ("backbone.bn1", "mix.1")]
    assert method.shuffles_batch and all(isinstance(norm, SplitBatchNorm) and norm.groups == 4 for norm in norms)
    method.eval()  # no batch statistics: an embedding depends on its own picture alone
    out, plain = method(views), method.teacher(views[1])
    for name in ("global", "hyper"):
        torch.testing.assert_close(out[f"t_{name}"], plain[name])
