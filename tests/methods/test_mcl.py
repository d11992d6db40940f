"""MCL: M networks that learn from each other, without labels and with them."""

import dataclasses

import pytest
import torch
from conftest import tiny
from oracles import cosine, slow_distillation_kl, slow_log_softmax, slow_mcl, slow_mcl_losses, slow_supervised_contrastive

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.mcl import LOSSES
from mnclglf_lite.models.batchnorm import SplitBatchNorm
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method

PARTS = [f"loss_{name}" for name in LOSSES]


def views_of(recipe, method, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(recipe.optim.batch_size, 3, v.size, v.size, generator=generator, dtype=torch.float64)
        for v in method.views
    ]


def made(**changes):
    """A recipe, its method in float64 with every layer awake, and views."""
    recipe = tiny("mcl", **changes)
    method = build_method(recipe, 10).double()
    for name, p in method.named_parameters():
        if name.endswith("bn2.weight"):  # zero at the start, which would hide the layers before it
            torch.nn.init.ones_(p)
    return recipe, method, views_of(recipe, method)


# --- without labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("networks, temperature", [(2, 0.2), (3, 0.1)])
def test_the_losses_are_the_formulas(networks, temperature):
    recipe, method, views = made(num_networks=networks, temperature=temperature)
    queues = [queue.entries.clone() for queue in method.queues]
    out = method(views)
    slow = slow_mcl(out, queues, temperature, soft_temperature=3.0)
    for name in PARTS:
        assert slow[name] > 1e-3 and out[name].item() == pytest.approx(slow[name], abs=1e-6), name
    assert out["loss"].item() == pytest.approx(sum(slow.values()), abs=1e-6)
    assert all(torch.equal(queue.entries, start) for queue, start in zip(method.queues, queues, strict=True))


def test_one_network_is_one_way_moco():
    """The same weights, queue and draws: the same loss, gradient, twin and queue, with BatchNorm in groups and shuffled."""
    changes = {"bn_splits": 4, "shuffle_bn": True, "temperature": 0.2, "ema": 0.9}
    recipe, method, views = made(num_networks=1, projector_last_norm=False, **changes)
    moco = build_method(tiny("moco", symmetric=False, projector_last_norm=False, **changes), 10).double()
    for ours, theirs in ((method.online, (moco.backbone, moco.projector)),
                         (method.twins, (moco.momentum_backbone, moco.momentum_projector))):  # fmt: skip
        for part, other in zip(ours[0], theirs, strict=True):
            other.load_state_dict(part.state_dict())
    moco.queue.load_state_dict(method.queues[0].state_dict())
    for each in (method, moco):
        each.generator = torch.Generator().manual_seed(1)
    mine, theirs = method(views), moco(views)
    torch.testing.assert_close(mine["loss"], theirs["loss"])
    assert {name for name in mine if name.startswith("loss")} == {"loss", "loss_vcl"}
    grads = [
        torch.autograd.grad(out["loss"], each.backbone.conv1.weight)[0] for out, each in ((mine, method), (theirs, moco))
    ]
    torch.testing.assert_close(*grads)
    with torch.no_grad():
        for each in (method, moco):
            each.backbone.conv1.weight.add_(1.0)
    method.after_step(mine)
    moco.after_step(theirs)
    torch.testing.assert_close(method.twins[0][0].conv1.weight, moco.momentum_backbone.conv1.weight)
    torch.testing.assert_close(method.queues[0].entries, moco.queue.entries)


def test_identical_networks_have_nothing_to_say_to_each_other_once_their_queues_are_aligned():
    recipe, method, views = made()
    for part in (method.online, method.twins):
        part[1].load_state_dict(part[0].state_dict())
    out = method(views)
    assert out["loss_soft_vcl"] > 1e-3 and out["loss_soft_icl"] > 1e-3  # the queues' random start is not aligned
    torch.testing.assert_close(out["loss_vcl"], out["loss_icl"])  # the same sum over networks, in another order
    for seed in range(recipe.method.queue // recipe.optim.batch_size):  # one turn of the queue, without learning
        method.after_step(method(views_of(recipe, method, seed)))
    out = method(views)
    torch.testing.assert_close(out["loss_vcl"], out["loss_icl"])
    assert out["loss_soft_vcl"].item() == out["loss_soft_icl"].item() == pytest.approx(0, abs=1e-12)


def test_a_slot_holds_the_same_picture_in_every_queue_and_is_filled_after_the_look_up():
    recipe, method, views = made(num_networks=3, queue=48)
    start = [queue.entries.clone() for queue in method.queues]
    steps = []
    for seed in range(2):
        steps.append(method(views_of(recipe, method, seed)))
        method.after_step(steps[-1])
    for m, (queue, old) in enumerate(zip(method.queues, start, strict=True)):
        for step, out in enumerate(steps):
            assert torch.equal(queue.entries[16 * step : 16 * step + 16], out[f"k{m}"])
        assert torch.equal(queue.entries[32:], old[32:])


@pytest.mark.parametrize("off", LOSSES)
def test_each_switch_removes_exactly_its_term(off):
    recipe, method, views = made()
    whole = method(views)
    _, other, _ = made(losses=tuple(name for name in LOSSES if name != off))
    out = other(views)
    for name in PARTS:
        torch.testing.assert_close(out[name], whole[name])  # all are reported, as gauges
    torch.testing.assert_close(out["loss"], whole["loss"] - whole[f"loss_{off}"])
    a, b, part = (
        torch.autograd.grad(loss, net.online[0][0].conv1.weight, retain_graph=True)[0]
        for loss, net in ((whole["loss"], method), (out["loss"], other), (whole[f"loss_{off}"], method))
    )
    torch.testing.assert_close(a - part, b)
    assert part.abs().max() > 1e-6


def test_gradient_reaches_exactly_the_query_networks():
    _, method, views = made()
    out = method(views)
    for name in PARTS:
        names, params = zip(*[(n, p) for n, p in method.named_parameters() if p.requires_grad], strict=True)
        assert all(n.startswith("online.") for n in names)
        grads = torch.autograd.grad(out[name], params, retain_graph=True, allow_unused=True)
        for n, grad in zip(names, grads, strict=True):
            if n.endswith("weight"):  # a bias that a BatchNorm subtracts again has gradient zero
                assert grad.abs().max() > 1e-9, (name, n)
    assert not any(out[f"k{m}"].requires_grad for m in range(2))
    assert not any(p.requires_grad for part in (method.twins, method.queues) for p in part.parameters())


@pytest.mark.parametrize("name", ["loss_soft_vcl", "loss_soft_icl"])
def test_the_target_of_a_soft_loss_is_a_constant(name):
    """Finite differences move one query of network 0 while all targets keep their values."""
    recipe, method, views = made()
    out = method(views)
    (grad,) = torch.autograd.grad(out[name], out["q0"])
    k, queues = [out["k0"], out["k1"]], [queue.entries for queue in method.queues]

    def z(q, b):
        rows = zip(q.tolist(), k[b].tolist(), strict=True)
        return [[cosine(x, entry) / recipe.method.temperature for entry in (key, *queues[b].tolist())] for x, key in rows]

    # q0 is the student in one direction alone; in the other it makes the target, which is held
    target = z(out["q1"], 1 if name == "loss_soft_vcl" else 0)
    for row, column in ((0, 0), (3, 5)):
        values = []
        for nudge in (1e-5, -1e-5):
            q = out["q0"].detach().clone()
            q[row, column] += nudge
            values.append(slow_distillation_kl(z(q, 0 if name == "loss_soft_vcl" else 1), target, 3.0))
        assert float(grad[row, column]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_networks_start_apart_and_each_twin_as_a_copy_that_follows():
    recipe, method, views = made(num_networks=3, ema=0.9)
    assert method.backbone is method.online[0][0] and method.views == (recipe.views.view, recipe.views.view)
    starts = [network[0].conv1.weight.detach().clone() for network in method.online]
    for m, start in enumerate(starts):
        assert not torch.equal(start, starts[m - 1])
        assert torch.equal(start, build_method(recipe, 10).double().twins[m][0].conv1.weight)
    out = method(views)
    with torch.no_grad():
        for network in method.online:
            network[0].conv1.weight.add_(1.0)
    method.after_step(out)
    for twin, start in zip(method.twins, starts, strict=True):
        torch.testing.assert_close(twin[0].conv1.weight, start + 0.1)


def test_all_twins_see_one_shuffled_batch_and_keys_come_back_in_order():
    recipe, method, views = made(num_networks=3, bn_splits=4)
    seen = []
    for twin in method.twins:
        twin.register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    method.generator = torch.Generator().manual_seed(5)
    method(views)
    order = torch.randperm(recipe.optim.batch_size, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(order, torch.arange(recipe.optim.batch_size))
    assert len(seen) == 3 and all(torch.equal(x, views[1][order]) for x in seen)
    assert method.shuffles_batch and all(
        isinstance(part[0][0].bn1, SplitBatchNorm) and part[0][0].bn1.groups == 4 for part in (method.online, method.twins)
    )
    method.eval()  # no batch statistics: a key depends on its own picture alone
    keys = method(views)["k2"]
    torch.testing.assert_close(keys, method.twins[2](views[1]))


def test_without_the_shuffle_nothing_is_drawn():
    _, method, views = made(shuffle_bn=False)
    method.generator = torch.Generator().manual_seed(5)
    before = method.generator.get_state()
    method(views)
    assert torch.equal(method.generator.get_state(), before)


def test_the_head_is_the_releases_one_linear_layer_where_the_recipe_says_so():
    head = build_method(tiny("mcl", projector=(8,), projector_last_norm=False), 10).online[0][1]
    assert len(head) == 1 and isinstance(head[0], torch.nn.Linear) and head[0].weight.shape == (8, 16)


def test_one_network_without_its_own_loss_is_refused():
    with pytest.raises(InputError, match=r"losses=\('icl',\) leaves nothing to learn from"):
        build_method(tiny("mcl", num_networks=1, losses=("icl",)), 10)


# --- with labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("networks", [1, 2, 3])
def test_the_labelled_losses_are_the_formulas(networks):
    recipe, method, views = made(with_labels=True, num_networks=networks, temperature=0.1)
    labels = torch.arange(recipe.optim.batch_size) % 5
    out = method(views, labels)
    e = [out[f"e{m}"].tolist() for m in range(networks)]
    s = [[[[cosine(x, y) / 0.1 for y in b] for x in a] for b in e] for a in e]
    slow = slow_mcl_losses(s, lambda rows: slow_supervised_contrastive(rows, labels.tolist()), 3.0)
    guesses = [out[f"logits{m}"].tolist() for m in range(networks)]
    told = -sum(slow_log_softmax(row)[c] for guess in guesses for row, c in zip(guess, labels.tolist(), strict=True)) / len(
        labels
    )
    assert out["loss_labels"].item() == pytest.approx(told, abs=1e-6)
    for name in PARTS if networks > 1 else PARTS[:1]:
        assert out[name].item() == pytest.approx(slow[name], abs=1e-6), name
    hard, soft = slow["loss_vcl"] + slow["loss_icl"], slow["loss_soft_vcl"] + slow["loss_soft_icl"]
    assert out["loss"].item() == pytest.approx(told + 0.1 * hard + soft, abs=1e-6)
    right = [row.index(max(row)) == c for row, c in zip(guesses[0], labels.tolist(), strict=True)]
    assert out["accuracy"].item() == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize("off, weight", [("vcl", 0.1), ("icl", 0.1), ("soft_vcl", 1.0), ("soft_icl", 1.0)])
def test_each_switch_removes_its_weighted_term_from_the_labelled_loss(off, weight):
    labels = torch.arange(16) % 5
    _, method, views = made(with_labels=True)
    _, other, _ = made(with_labels=True, losses=tuple(name for name in LOSSES if name != off))
    whole, out = method(views, labels), other(views, labels)
    torch.testing.assert_close(out["loss"], whole["loss"] - weight * whole[f"loss_{off}"])
    assert whole[f"loss_{off}"] > 1e-3


def test_labelled_networks_meet_in_the_batch_and_both_sides_learn():
    recipe, method, views = made(with_labels=True)
    labels = torch.arange(recipe.optim.batch_size) % 5
    assert method.views == (recipe.views.view,) and not any("queue" in key or "twin" in key for key in method.state_dict())
    out = method(views, labels)
    for grad in torch.autograd.grad(out["loss_icl"], [out["e0"], out["e1"]], retain_graph=True):
        assert grad.abs().max() > 1e-6
    out["loss"].backward()
    assert all(p.grad is not None for p in method.parameters())
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.after_step(out)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_the_labelled_form_has_whole_batches_whatever_the_groups():
    _, method, _ = made(with_labels=True, bn_splits=4)
    assert not method.shuffles_batch and not any(isinstance(m, SplitBatchNorm) for m in method.modules())


@pytest.mark.parametrize("dataset", ["toybox", "cifar10", "cifar100", "tinyimagenet"])
@pytest.mark.parametrize("name", ["quick", "standard"])
def test_the_labelled_form_is_trained_as_the_supervised_reference_is(name, dataset):
    """What is left between the two is the second network and the losses."""
    labelled = preset(name, "mcl", dataset, with_labels=True)
    reference, other = preset(name, "supervised", dataset), preset(name, "mcl", dataset)
    assert (labelled.views, labelled.encoder, labelled.optim) == (reference.views, reference.encoder, reference.optim)
    assert labelled.method == dataclasses.replace(other.method, with_labels=True) and labelled.optim != other.optim
    if name == "standard":
        view = build_method(labelled.replace(width=8), 10).views[0]
        assert view.jitter_p == view.gray_p == view.blur_p == 0 and view.flip_p == 0.5  # the release: no colour
    assert preset(name, "mcl", dataset, with_labels=True, lr=0.7).optim.lr == 0.7  # what is asked for stays on top


def test_the_labelled_form_needs_labels_and_the_other_does_not_read_them():
    _, method, views = made(with_labels=True)
    with pytest.raises(InputError, match="needs labels"):
        method(views)
    _, method, views = made(shuffle_bn=False)  # a new order each time would change the rounding
    assert torch.equal(method(views)["loss"], method(views, torch.zeros(16, dtype=torch.long))["loss"])
