"""Where gradient flows and where it must not, what moves and what waits, for every method."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny
from oracles import slow_info_nce, slow_nt_xent
from torch.utils._python_dispatch import TorchDispatchMode

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.methods.registry import METHODS, VARIANTS, variant
from mnclglf_lite.models.heads import predictor, projector
from mnclglf_lite.models.memory_queue import Queue
from mnclglf_lite.models.momentum import update_ema
from mnclglf_lite.models.resnet import ResNet
from mnclglf_lite.recipe.presets import preset
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.views.view import View


def batch(recipe, method, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(recipe.optim.batch_size, 3, v.size, v.size, generator=generator).to(dtype) for v in method.views]
    return views, torch.arange(recipe.optim.batch_size) % 10


def gradients(recipe, part="loss", seed=0):
    """Gradient of one named output with respect to every online parameter, in float64; None where nothing arrives."""
    method = build_method(recipe, 10).double()
    for name, p in method.named_parameters():
        if name.endswith("bn2.weight"):  # zero at the start, which would hide the layers before it
            torch.nn.init.ones_(p)
    views, labels = batch(recipe, method, seed, torch.float64)
    outputs = method(views, labels)
    names = [name for name, p in method.named_parameters() if p.requires_grad]
    params = [p for p in method.parameters() if p.requires_grad]
    if not outputs[part].requires_grad:
        return dict.fromkeys(names)
    return dict(zip(names, torch.autograd.grad(outputs[part], params, allow_unused=True), strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_the_contract(name):
    recipe = tiny(name)
    method = build_method(recipe, 10)
    views, labels = batch(recipe, method)
    outputs = method(views, labels)
    assert outputs["loss"].shape == () and torch.isfinite(outputs["loss"])
    outputs["loss"].backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    method.after_step(outputs)
    other = build_method(recipe.replace(seed=5), 10)
    other.load_state_dict(method.state_dict())
    for key, value in method.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_draws_the_same_weights_and_touches_no_global_state(name):
    before = torch.get_rng_state()
    one, two, three = (build_method(tiny(name, seed=seed), 10).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], three[key]) for key in one)
    assert torch.equal(before, torch.get_rng_state())


def assert_order_does_not_matter(recipe):
    """The pictures of a batch in another order: the same loss, and every other output in that order."""
    method = build_method(recipe, 10).double()
    if method.shuffles_batch:
        pytest.skip("a draw mixes the pictures of the batch")
    views, labels = batch(recipe, method, dtype=torch.float64)
    order = torch.randperm(recipe.optim.batch_size, generator=torch.Generator().manual_seed(3))
    base = method(views, labels)
    moved = method([v[order] for v in views], labels[order])
    for key, value in base.items():
        if value.ndim == 0:
            torch.testing.assert_close(moved[key], value)
        elif value.ndim == 3:  # (C, N, D)
            torch.testing.assert_close(moved[key], value[:, order])
        else:
            torch.testing.assert_close(moved[key], value[order])


@pytest.mark.parametrize("name", METHODS)
def test_permuting_the_batch_permutes_the_outputs(name):
    assert_order_does_not_matter(tiny(name))


class NoReading(TorchDispatchMode):
    """Refuses every operation that brings a value, or a shape that depends on values, into Python."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
            raise AssertionError(f"{func} reads a tensor's value")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [*METHODS, *VARIANTS])
def test_no_step_reads_a_tensors_value(name):
    """On a GPU each such look would make the host wait for the step to end."""
    method_name, changes = variant(name)
    recipe = tiny(method_name, **changes)
    method = build_method(recipe, 10)
    views, labels = batch(recipe, method)
    with NoReading():
        outputs = method(views, labels)
        outputs["loss"].backward()
        method.after_step(outputs)
    with pytest.raises(AssertionError, match="reads a tensor's value"), NoReading():
        bool(outputs["loss"] > 0)


# --- MNCLGLF -----------------------------------------------------------------------------------------------------------


def test_the_loss_of_mnclglf_is_its_formula():
    recipe = tiny(temperature=0.3, local_weight=1.0, global_weight=6.0)
    method = build_method(recipe, 10).double()
    out = method(*batch(recipe, method, dtype=torch.float64))
    assert out["c1"].shape == out["c2"].shape == (6, recipe.optim.batch_size, 8)
    local = sum(slow_info_nce(out["p1"], out["c2"][j], 0.3) + slow_info_nce(out["p2"], out["c1"][j], 0.3) for j in range(6))
    both = 0.5 * slow_nt_xent(out["n3"], out["p1"], 0.3) + 0.5 * slow_nt_xent(out["n1"], out["p3"], 0.3)
    assert out["loss_local"].item() == pytest.approx(local / 12, abs=1e-6)
    assert out["loss_global"].item() == pytest.approx(both, abs=1e-6)
    assert out["loss"].item() == pytest.approx(local / 12 + 6 * both, abs=1e-6)


def test_as_released_the_gradient_of_the_whole_is_that_of_six_times_the_global_term():
    recipe = tiny(local_gradient=False, local_weight=1.0, global_weight=6.0)
    whole, part = gradients(recipe, "loss"), gradients(recipe, "loss_global")
    for name in whole:
        torch.testing.assert_close(whole[name], 6 * part[name], rtol=1e-10, atol=1e-13)  # rounding of float64
    assert set(gradients(recipe, "loss_local").values()) == {None}


def test_as_drawn_the_local_term_reaches_the_online_network_and_both_terms_add_up():
    recipe = tiny(local_gradient=True, local_weight=1.0, global_weight=6.0)
    local, part, whole = (gradients(recipe, name) for name in ("loss_local", "loss_global", "loss"))
    for name in whole:
        if name.endswith("weight"):  # a bias that a BatchNorm subtracts again has gradient zero
            assert local[name].abs().max() > 1e-6, name
        torch.testing.assert_close(whole[name], local[name] + 6 * part[name])


def test_as_drawn_gradient_flows_through_p_and_never_through_the_targets():
    recipe = tiny(local_gradient=True)
    method = build_method(recipe, 10).double()
    out = method(*batch(recipe, method, dtype=torch.float64))
    for key in ("c1", "c2", "m1", "m3", "n1", "n3"):
        assert not out[key].requires_grad, key
    reach = torch.autograd.grad(out["loss_local"], [out["p1"], out["p2"], out["p3"]], allow_unused=True, retain_graph=True)
    assert reach[0].abs().max() > 0 and reach[1].abs().max() > 0 and reach[2] is None
    reach = torch.autograd.grad(out["loss_global"], [out["p1"], out["p2"], out["p3"]], allow_unused=True)
    assert reach[0].abs().max() > 0 and reach[1] is None and reach[2].abs().max() > 0


def test_the_gradient_is_that_of_the_loss_with_the_targets_held_constant():
    """Finite differences move one weight while c and n keep their values: only p may answer."""
    recipe = tiny(temperature=0.5)
    method = build_method(recipe, 10).double()
    views, labels = batch(recipe, method, dtype=torch.float64)
    out = method(views, labels)
    weight = method.projector[0].weight
    (grad,) = torch.autograd.grad(out["loss"], weight)

    def with_fixed_targets():
        p1, p2, p3 = (method.embed(x)[1] for x in views)
        local = sum(slow_info_nce(p1, out["c2"][j], 0.5) + slow_info_nce(p2, out["c1"][j], 0.5) for j in range(6)) / 12
        both = 0.5 * slow_nt_xent(out["n3"], p1, 0.5) + 0.5 * slow_nt_xent(out["n1"], p3, 0.5)
        return recipe.method.local_weight * local + recipe.method.global_weight * both

    with torch.no_grad():
        for row, column in ((0, 0), (3, 5)):
            values = []
            for nudge in (1e-5, -1e-5):
                weight[row, column] += nudge
                values.append(with_fixed_targets())
                weight[row, column] -= nudge
            assert float(grad[row, column]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-9)


def test_patch_order_does_not_change_the_local_term():
    recipe = tiny()
    method = build_method(recipe, 10).double()
    views, labels = batch(recipe, method, dtype=torch.float64)
    patches = method.patches_of(views)[0]
    c = method.local_targets(patches)
    mixed = method.local_targets(patches[[2, 0, 3, 1]])
    anchor = torch.randn(recipe.optim.batch_size, 8, dtype=torch.float64)
    one, two = (sorted(slow_info_nce(anchor, cj, 0.2) for cj in each) for each in (c, mixed))
    assert one == pytest.approx(two)


def test_only_the_third_views_keys_enter_the_queue_and_never_before_the_look_up():
    recipe = tiny()
    method = build_method(recipe, 10)
    views, labels = batch(recipe, method)
    start = method.queue.entries.clone()
    out = method(views, labels)
    assert torch.equal(method.queue.entries, start)  # looking up changes nothing
    assert all((start == row).all(1).any() for row in torch.cat([out["n1"], out["n3"]]))  # neighbours are old entries
    method.after_step(out)
    assert torch.equal(method.queue.entries[:16], out["m3"]) and torch.equal(method.queue.entries[16:], start[16:])
    assert torch.equal(method.queue.labels[:16], labels)


def test_the_momentum_network_moves_by_averaging_alone_and_keeps_its_own_statistics():
    recipe = tiny(ema=0.9)
    method = build_method(recipe, 10)
    online, twin = method.backbone.conv1.weight, method.momentum_backbone.conv1.weight
    assert not torch.equal(online, twin)  # drawn on its own, not copied
    views, labels = batch(recipe, method)
    expected = 0.9 * twin + 0.1 * online
    out = method(views, labels)
    own = method.momentum_backbone.bn1.running_mean.clone()
    out["loss"].backward()
    assert all(p.grad is None for p in method.momentum_backbone.parameters())
    method.after_step(out)
    torch.testing.assert_close(method.momentum_backbone.conv1.weight, expected.detach())
    assert torch.equal(method.momentum_backbone.bn1.running_mean, own)
    assert not torch.equal(own, method.backbone.bn1.running_mean)


def test_the_patch_branch_updates_the_running_statistics_of_the_online_network():
    """Three whole views and two sets of patches: five passes through the online backbone, in train mode (release)."""
    for local_gradient in (True, False):
        recipe = tiny(local_gradient=local_gradient)
        method = build_method(recipe, 10)
        method(*batch(recipe, method))
        assert int(method.backbone.bn1.num_batches_tracked) == 5
        assert int(method.momentum_backbone.bn1.num_batches_tracked) == 2


def test_without_the_swap_the_targets_are_the_keys_themselves():
    recipe = tiny(neighbour_swap=False)
    method = build_method(recipe, 10)
    out = method(*batch(recipe, method))
    assert torch.equal(out["n1"], out["m1"]) and torch.equal(out["n3"], out["m3"])


def test_neighbours_become_the_targets_when_their_share_of_the_run_is_over():
    for name, own, target in (("mnclglf", "m1", "n1"), ("nnclr", "z1", "n1")):
        recipe = tiny(name, swap_from=0.5)
        method = build_method(recipe, 10)
        method.progress.fill_(0.49)
        out = method(*batch(recipe, method))
        assert torch.equal(out[target], out[own]) and not out[target].requires_grad
        method.progress.fill_(0.5)
        out = method(*batch(recipe, method))
        assert torch.equal(out[target], method.queue.nearest(out[own])[0])


def test_random_local_crops_take_the_place_of_the_grid():
    recipe = tiny(local="crops", small_view=View(size=8, scale=(0.05, 0.4)))
    method = build_method(recipe, 10)
    assert [v.size for v in method.views] == [16] * 3 + [8] * 8
    views, labels = batch(recipe, method)
    first, second = method.patches_of(views)
    assert first.shape == second.shape == (4, 16, 3, 8, 8)
    assert torch.equal(first[1], views[4]) and torch.equal(second[0], views[7])
    assert method(views, labels)["c1"].shape == (6, 16, 8)


@pytest.mark.parametrize("local_weight, global_weight, form", [
    (1.0, 6.0, lambda local, both, b=0.5, a=6: local + a * both),
    (0.5, 0.5, lambda local, both, b=0.5, a=6: b * local + (1 - b) * both),
    (0.5, 3.0, lambda local, both, b=0.5, a=6: b * local + (1 - b) * a * both),
])  # fmt: skip
def test_the_three_weightings_of_the_release(local_weight, global_weight, form):
    recipe = tiny(temperature=1.0, local_weight=local_weight, global_weight=global_weight)
    method = build_method(recipe, 10).double()
    out = method(*batch(recipe, method, dtype=torch.float64))
    local = sum(slow_info_nce(out["p1"], out["c2"][j], 1.0) + slow_info_nce(out["p2"], out["c1"][j], 1.0) for j in range(6))
    both = 0.5 * slow_nt_xent(out["n3"], out["p1"], 1.0) + 0.5 * slow_nt_xent(out["n1"], out["p3"], 1.0)
    assert out["loss"].item() == pytest.approx(form(local / 12, both), abs=1e-9)


def test_two_networks_hold_what_they_always_held_drawn_in_the_same_order():
    recipe = tiny(seed=4)
    dim, heads = recipe.method.projector[-1], (8 * 2, *recipe.method.projector)  # two stages of 8 and 16 channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        parts = {"backbone": ResNet(8, (1, 1), recipe.encoder.stem), "projector": projector(heads)}
        parts |= {"predictor": predictor(dim, recipe.method.predictor_hidden)}
        parts |= {"momentum_backbone": ResNet(8, (1, 1), recipe.encoder.stem), "momentum_projector": projector(heads)}
        parts |= {"queue": Queue(recipe.method.queue, dim)}
    for name in ("backbone", "projector"):  # the first step's move, which comes before its keys
        update_ema(parts[f"momentum_{name}"], parts[name], recipe.method.ema)
    wanted = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    state = build_method(recipe, 10).state_dict()
    assert list(state) == list(wanted) and all(torch.equal(state[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(("name", "changes"), [("mnclglf", {"num_networks": 3}), ("fastmoco", {})])
def test_momentum_networks_move_before_every_steps_targets_the_first_too(name, changes, monkeypatch):
    """As in the releases, which move them in the forward pass: t <- m t + (1 - m) w, and only then t sees the views."""
    recipe = tiny(name, ema=0.9, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module(f"mnclglf_lite.methods.{name}"), "update_ema", lambda *given: None)
        wanted = build_method(recipe, 10)  # as drawn: nothing has moved yet
    method = build_method(recipe, 10)
    optimiser = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.5)
    moves = {"momentum_{}": 0.9} | ({"momentum_{}_2": 0.95} if name == "mnclglf" else {})
    views, labels = batch(recipe, method)
    for _ in range(3):
        for kind in ("backbone", "projector"):
            for form, momentum in moves.items():
                update_ema(getattr(wanted, form.format(kind)), getattr(method, kind), momentum)
                pairs = zip(*(getattr(each, form.format(kind)).parameters() for each in (method, wanted)), strict=True)
                assert all(torch.equal(mine, theirs) for mine, theirs in pairs), form
        outputs = method(views, labels)
        optimiser.zero_grad()
        outputs["loss"].backward()
        optimiser.step()
        method.after_step(outputs)


@pytest.mark.parametrize("name", ["mnclglf", "fastmoco"])
def test_as_released_the_scales_of_the_heads_start_uniform_and_those_of_the_backbone_at_one(name):
    small = {"width": 8, "blocks": (1, 1), "projector": (256, 256, 256), "predictor_hidden": 256}
    small |= {"queue": 512} if name == "mnclglf" else {}
    released = preset("as_released", name, "cifar10", **small)
    method, again = build_method(released, 10), build_method(released, 10)
    heads = [method.predictor, method.projector, method.momentum_projector]
    norms = [m for head in heads for m in head.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert [len(norm.weight) for norm in norms] == 7 * [256]
    for norm in norms:  # uniform in 0 to 1: mean 0.5, standard deviation 0.289
        assert norm.weight.min() >= 0 and norm.weight.max() <= 1 and not norm.bias.any()
        assert norm.weight.mean().item() == pytest.approx(0.5, abs=0.08)
        assert norm.weight.std().item() == pytest.approx(0.289, abs=0.04)
    assert len({norm.weight[0].item() for norm in norms}) == 7  # each drawn on its own
    assert (method.backbone.bn1.weight == 1).all()
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), again.parameters(), strict=True))
    for other in (released.replace(head_norm_start="one"), preset("quick", name, "cifar10")):
        plain = build_method(other, 10)
        for head in (plain.predictor, plain.projector, plain.momentum_projector):
            assert all((m.weight == 1).all() for m in head.modules() if isinstance(m, torch.nn.BatchNorm1d))


def test_one_network_teaches_itself_with_its_own_neighbours():
    recipe = tiny(num_networks=1, temperature=0.3)
    method = build_method(recipe, 10).double()
    assert {name.split(".")[0] for name in method.state_dict()} == {"backbone", "projector", "predictor", "queue"}
    assert all(p.requires_grad for p in method.parameters())
    views, labels = batch(recipe, method, dtype=torch.float64)
    out = method(views, labels)
    assert torch.equal(out["m1"], out["z1"]) and torch.equal(out["m3"], out["z3"])
    for key in ("m1", "m3", "n1", "n3"):
        assert not out[key].requires_grad, key
    for m, n in ((out["m1"], out["n1"]), (out["m3"], out["n3"])):
        best = F.cosine_similarity(m[:, None], method.queue.entries[None], dim=2).argmax(dim=1)
        assert torch.equal(n, method.queue.entries[best])
    both = 0.5 * slow_nt_xent(out["n3"], out["p1"], 0.3) + 0.5 * slow_nt_xent(out["n1"], out["p3"], 0.3)
    assert out["loss_global"].item() == pytest.approx(both, abs=1e-9)
    assert int(method.backbone.bn1.num_batches_tracked) == 5  # no further pass for the targets
    weights = method.backbone.conv1.weight.clone()
    method.after_step(out)
    assert torch.equal(method.backbone.conv1.weight, weights)  # there is nothing to follow
    assert torch.equal(method.queue.entries[:16], out["z3"]) and torch.equal(method.queue.labels[:16], labels)


def test_the_global_term_is_the_mean_over_the_twins_each_with_its_own_queue():
    recipe = tiny(num_networks=4, temperature=0.3)
    method = build_method(recipe, 10).double()
    views, labels = batch(recipe, method, dtype=torch.float64)
    ends = ("", "_2", "_3")
    queues, starts = [[getattr(method, f"{name}{end}") for end in ends] for name in ("queue", "momentum_backbone")]
    for i in range(3):  # drawn on their own
        assert not torch.equal(starts[i].conv1.weight, starts[i - 1].conv1.weight)
        assert not torch.equal(queues[i].entries, queues[i - 1].entries)
    out = method(views, labels)
    terms = []
    for end, queue in zip(ends, queues, strict=True):
        m1, m3, n1, n3 = (out[name + end] for name in ("m1", "m3", "n1", "n3"))
        for m, n in ((m1, n1), (m3, n3)):
            best = F.cosine_similarity(m[:, None], queue.entries[None], dim=2).argmax(dim=1)
            assert torch.equal(n, queue.entries[best]) and not n.requires_grad
        terms += [slow_nt_xent(n3, out["p1"], 0.3), slow_nt_xent(n1, out["p3"], 0.3)]
    assert out["loss_global"].item() == pytest.approx(sum(terms) / 6, abs=1e-9)
    before = [queue.entries.clone() for queue in queues]
    method.after_step(out)
    for end, queue, start in zip(ends, queues, before, strict=True):
        assert torch.equal(queue.entries[:16], out["m3" + end]) and torch.equal(queue.entries[16:], start[16:])
        assert torch.equal(queue.labels[:16], labels)


def test_each_twin_is_half_as_fast_as_the_one_before_and_has_its_own_statistics():
    recipe = tiny(num_networks=4, ema=0.8)
    method = build_method(recipe, 10)
    names = ("momentum_backbone", "momentum_projector")
    twins = [[getattr(method, name + end) for name in names] for end in ("", "_2", "_3")]
    before = [[p.clone() for part in twin for p in part.parameters()] for twin in twins]
    out = method(*batch(recipe, method))
    out["loss"].backward()
    method.after_step(out)
    online = [p.detach() for part in (method.backbone, method.projector) for p in part.parameters()]
    for twin, start, share in zip(twins, before, (0.2, 0.1, 0.05), strict=True):
        for now, was, aim in zip([p for part in twin for p in part.parameters()], start, online, strict=True):
            torch.testing.assert_close(now, (1 - share) * was + share * aim)
            assert now.grad is None and not now.requires_grad
        assert int(twin[0].bn1.num_batches_tracked) == int(twin[1][1].num_batches_tracked) == 2
    assert int(method.backbone.bn1.num_batches_tracked) == 5


@pytest.mark.parametrize("networks", [1, 3])
def test_permuting_the_batch_permutes_the_outputs_of_any_number_of_networks(networks):
    assert_order_does_not_matter(tiny(num_networks=networks))


def test_agreement_counts_the_neighbours_of_every_twin():
    recipe = tiny(num_networks=3)
    method = build_method(recipe, 10)
    views, labels = batch(recipe, method)
    method.queue.labels.fill_(3)
    method.queue_2.labels.fill_(-1)
    share = (labels == 3).float().mean() / 2  # of the first twin's neighbours; the second's have no label
    torch.testing.assert_close(method(views, labels)["agreement"], share)


# --- SimCLR, supervised ------------------------------------------------------------------------------------------------


def test_a_simclr_step_equals_one_composed_of_lightlys_parts():
    loss, heads = pytest.importorskip("lightly.loss"), pytest.importorskip("lightly.models.modules.heads")
    recipe = tiny("simclr", projector=(16, 8))
    method = build_method(recipe, 10)
    views, _ = batch(recipe, method)
    head = heads.SimCLRProjectionHead(method.backbone.dim, 16, 8)
    # Their layers lack biases before BatchNorm, where a bias changes nothing: zero ours, and only the rest is compared.
    with torch.no_grad():
        method.projector[0].bias.zero_()
        method.projector[3].bias.zero_()
    ours, theirs = method.projector.state_dict(), head.layers.state_dict()
    assert set(theirs) <= set(ours)
    head.layers.load_state_dict({key: ours[key] for key in theirs})
    value = loss.NTXentLoss(temperature=recipe.method.temperature)(*(head(method.backbone(x)) for x in views))
    torch.testing.assert_close(method(views)["loss"], value, rtol=1e-5, atol=1e-6)
    grads = torch.autograd.grad(method(views)["loss"], method.backbone.conv1.weight)[0]
    torch.testing.assert_close(grads, torch.autograd.grad(value, method.backbone.conv1.weight)[0], rtol=1e-3, atol=1e-5)


def test_supervised_needs_labels():
    method = build_method(tiny("supervised"), 10)
    with pytest.raises(InputError, match="needs labels"):
        method(batch(tiny("supervised"), method)[0])
