"""MoCo, SimSiam, BYOL, NNCLR and Fast-MoCo: the formulas, where gradient flows, what moves, and what the queue holds."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import read_by, tiny
from oracles import cosine, slow_info_nce_queue, slow_loss
from torch import nn

from mnclglf_lite.evaluation.collapse import effective_rank, feature_std
from mnclglf_lite.losses import nt_xent
from mnclglf_lite.methods.byol import BYOL
from mnclglf_lite.methods.simsiam import SimSiam
from mnclglf_lite.models.batchnorm import SplitBatchNorm
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import train
from mnclglf_lite.views.view import render_view, sample_params

FAMILY = ("moco", "simsiam", "byol", "nnclr", "fastmoco")
TARGETS = {"moco": ("k1", "k2"), "simsiam": (), "byol": ("m1", "m2"), "nnclr": ("n1", "n2"), "fastmoco": ("m1", "m2")}
T = 0.3


def stepped(name, dtype=torch.float64, seed=0, **changes):
    """A method, its views and what it makes of them."""
    recipe = tiny(name, **read_by(name, temperature=T, queue=64) | changes)
    method = build_method(recipe, 10).to(dtype)
    for key, p in method.named_parameters():
        if key.endswith("bn2.weight"):  # zero at the start, which would hide the layers before it
            nn.init.ones_(p)
    generator = torch.Generator().manual_seed(seed)
    x = [torch.randn(recipe.optim.batch_size, 3, v.size, v.size, generator=generator).to(dtype) for v in method.views]
    return method, x, method(x, torch.arange(recipe.optim.batch_size) % 10)


@pytest.mark.parametrize("name", FAMILY)
def test_the_loss_is_the_formula(name):
    for seed in (0, 1):
        method, _, out = stepped(name, seed=seed)
        assert out["loss"].item() == pytest.approx(slow_loss(name, out, method, T), abs=1e-9)


@pytest.mark.parametrize("name", FAMILY)
def test_gradient_reaches_every_online_weight_and_no_target(name):
    method, _, out = stepped(name)
    for key in TARGETS[name]:
        assert not out[key].requires_grad, key
    out["loss"].backward()
    for key, parameter in method.named_parameters():
        if key.startswith("momentum_"):
            assert not parameter.requires_grad and parameter.grad is None, key
        elif parameter.ndim > 1:  # a bias that a BatchNorm subtracts again has gradient zero
            assert parameter.grad.abs().max() > 1e-6, key


@pytest.mark.parametrize("name", FAMILY)
def test_the_gradient_is_that_of_the_loss_with_the_targets_held_constant(name):
    """Finite differences move one weight while the targets keep their values: only queries and predictions may answer."""
    method, x, out = stepped(name)
    weight = method.projector[0].weight
    (grad,) = torch.autograd.grad(out["loss"], weight)
    fixed = {key: out[key].detach() for key in ("z1", "z2", *TARGETS[name]) if key in out}
    with torch.no_grad():
        for row, column in ((0, 0), (3, 5)):
            values = []
            for nudge in (1e-5, -1e-5):
                weight[row, column] += nudge
                values.append(slow_loss(name, {**method(x), **fixed}, method, T))
                weight[row, column] -= nudge
            assert float(grad[row, column]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("name", ["moco", "byol", "fastmoco"])
def test_the_twin_moves_by_averaging_alone_and_keeps_its_own_statistics(name):
    method, x, out = stepped(name, torch.float32, **read_by(name, ema=0.9, ema_end=0.0))
    pairs = [("backbone", "momentum_backbone"), ("projector", "momentum_projector")]
    online, twin = (nn.ModuleList(getattr(method, pair[i]) for pair in pairs) for i in (0, 1))
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    out["loss"].backward()
    optimiser.step()
    before = [p.clone() for p in twin.parameters()]
    buffers = [b.clone() for b in twin.buffers()]
    method.after_step(out)
    for now, was, aim in zip(twin.parameters(), before, online.parameters(), strict=True):
        torch.testing.assert_close(now, 0.9 * was + 0.1 * aim.detach())
    assert not torch.equal(twin[0].conv1.weight, before[0])
    assert all(torch.equal(a, b) for a, b in zip(twin.buffers(), buffers, strict=True))
    assert int(twin[0].bn1.num_batches_tracked) == int(online[0].bn1.num_batches_tracked) == 2  # one pass a view
    if name == "fastmoco":  # whole views there, patches here
        assert not torch.allclose(twin[0].bn1.running_var, online[0].bn1.running_var)
    again = method(x)
    assert not torch.equal(method.momentum_backbone.bn1.running_mean, buffers[0])  # it runs in train mode
    assert all(key in again for key in TARGETS[name])


@pytest.mark.parametrize("name, copied", [("moco", True), ("byol", True), ("fastmoco", False)])
def test_the_twin_starts_as_a_copy_or_on_its_own(name, copied):
    state = build_method(tiny(name), 10).state_dict()
    for part in ("backbone", "projector"):
        keys = [key for key in state if key.startswith(part + ".")]
        assert len(keys) > 3
        assert all(torch.equal(state[key], state["momentum_" + key]) for key in keys) == copied


# --- MoCo --------------------------------------------------------------------------------------------------------------


def test_one_way_moco_asks_the_first_view_alone():
    method, x, out = stepped("moco", symmetric=False)
    assert set(out) == {"loss", "q1", "k2"}
    assert out["loss"].item() == pytest.approx(slow_info_nce_queue(out["q1"], out["k2"], method.queue.entries, T), abs=1e-9)
    torch.testing.assert_close(out["q1"], method.projector(method.backbone(x[0])))
    torch.testing.assert_close(out["k2"], method.momentum_projector(method.momentum_backbone(x[1])))
    start = method.queue.entries.clone()
    method.after_step(out)
    assert torch.equal(method.queue.entries[:16], out["k2"]) and torch.equal(method.queue.entries[16:], start[16:])


def test_symmetric_moco_enqueues_the_keys_of_both_views_after_both_look_ups():
    method, x, out = stepped("moco")
    start = build_method(tiny("moco", queue=64), 10).double().queue.entries
    assert torch.equal(method.queue.entries, start)  # looking up changes nothing
    both = [slow_info_nce_queue(out[q], out[k], start, T) for q, k in (("q1", "k2"), ("q2", "k1"))]
    assert out["loss"].item() == pytest.approx(sum(both) / 2, abs=1e-9)  # both see the queue of before
    method.after_step(out)
    entries = method.queue.entries
    assert torch.equal(entries[:16], out["k1"]) and torch.equal(entries[16:32], out["k2"])
    assert torch.equal(entries[32:], start[32:]) and int(method.queue.pointer) == 32
    again = method(x)
    method.after_step(again)  # and the next batch follows them
    assert torch.equal(entries[32:48], again["k1"]) and torch.equal(entries[:32], torch.cat([out["k1"], out["k2"]]))


def test_with_one_group_the_shuffle_changes_nothing_and_with_groups_it_changes_the_company():
    keys = {}
    for groups in (1, 4):
        for shuffle in (False, True):
            torch.manual_seed(0)  # the draw of a method without a generator of its own
            method, _, out = stepped("moco", bn_splits=groups, shuffle_bn=shuffle)
            assert method.shuffles_batch == (groups > 1)
            keys[groups, shuffle] = out["k1"]
    torch.testing.assert_close(keys[1, True], keys[1, False])
    assert not torch.allclose(keys[4, True], keys[4, False], rtol=1e-3)
    assert not torch.allclose(keys[4, False], keys[1, False], rtol=1e-3)


def test_shuffled_keys_are_put_back_in_their_places():
    method, x, _ = stepped("moco", bn_splits=4)
    method.generator = torch.Generator().manual_seed(7)
    state = torch.get_rng_state()
    keys = method.keys(x[1])
    assert torch.equal(torch.get_rng_state(), state)  # drawn from the run's own generator
    order = torch.randperm(16, generator=torch.Generator().manual_seed(7))
    in_order = method.momentum_projector(method.momentum_backbone(x[1][order]))
    for place, picture in enumerate(order.tolist()):
        torch.testing.assert_close(keys[picture], in_order[place])
    assert not torch.equal(method.keys(x[1]), keys)  # each call draws anew


def test_the_momentum_network_is_split_as_the_online_one_is():
    method, _, _ = stepped("moco", bn_splits=4)
    for net, norms in (
        (method.backbone, 6),
        (method.projector, 1),
        (method.momentum_backbone, 6),
        (method.momentum_projector, 1),
    ):
        assert [m.groups for m in net.modules() if isinstance(m, SplitBatchNorm)] == [4] * norms


# --- SimSiam -----------------------------------------------------------------------------------------------------------


class WithoutStop(SimSiam):
    def target(self, z):
        return z


class WithoutPredictor(SimSiam):
    def __init__(self, *args):
        super().__init__(*args)
        self.predictor = nn.Identity()


def test_the_targets_of_simsiam_are_standardised_and_have_no_scale_of_their_own():
    method, _, out = stepped("simsiam", projector=(16, 16, 8))
    assert len(method.projector) == 8 and not method.projector[-1].affine and method.projector[1].affine
    torch.testing.assert_close(out["z1"].mean(0), torch.zeros(8, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(out["z1"].var(0, unbiased=False), torch.ones(8, dtype=torch.float64), atol=1e-2, rtol=0)


@pytest.fixture(scope="module")
def collapse(toys):
    """SimSiam whole and with one part taken out, a hundred steps each on 128 pictures: spread and effective rank of z1."""
    found = {}
    for kind in (SimSiam, WithoutStop, WithoutPredictor):
        torch.manual_seed(0)
        asked = tiny("simsiam", batch_size=128, projector=(32, 32, 32), predictor_hidden=16)
        method = kind(asked.method, asked.encoder, asked.views.view, 10)
        generator = torch.Generator().manual_seed(0)
        optimiser = torch.optim.SGD(method.parameters(), lr=0.5, momentum=0.9, weight_decay=5e-4)
        images = toys.train.images[:128]
        for _ in range(100):
            cut = [render_view(images, v, sample_params(v, 128, (16, 16), generator)) for v in method.views]
            out = method(cut)
            optimiser.zero_grad()
            out["loss"].backward()
            optimiser.step()
        found[kind] = (feature_std(out["z1"]).item(), effective_rank(out["z1"]).item(), out["loss"].item())
    return found


def test_simsiam_as_it_is_keeps_its_embeddings_apart(collapse):
    width, rank, _ = collapse[SimSiam]
    assert width > 0.8 and rank > 3


@pytest.mark.parametrize("broken", [WithoutStop, WithoutPredictor])
def test_without_stop_gradient_or_predictor_simsiam_collapses_and_the_gauges_say_so(collapse, broken):
    """Chen & He 2021, sections 4.1 and 4.2. The loss looks better than that of the method which learns."""
    width, rank, loss = collapse[broken]
    assert width < 0.6 and rank < 2 and loss < collapse[SimSiam][2]


# --- BYOL --------------------------------------------------------------------------------------------------------------


def test_byols_momentum_rises_over_the_run_and_the_twin_follows_it(toys, monkeypatch):
    taus, real = [], BYOL.after_step

    def after_step(self, outputs):
        before, online = self.momentum_backbone.conv1.weight.clone(), self.backbone.conv1.weight.detach()
        real(self, outputs)
        tau = 1 - 0.2 * (math.cos(math.pi * len(taus) / 8) + 1) / 2  # the paper's, at step k of K = 8
        torch.testing.assert_close(self.momentum_backbone.conv1.weight, tau * before + (1 - tau) * online)
        taus.append(float(self.tau()))

    monkeypatch.setattr(BYOL, "after_step", after_step)
    train.train(tiny("byol", ema=0.8, ema_end=1.0, steps=8), toys, device="cpu", log=lambda text: None)
    assert taus == sorted(taus) and taus[0] == pytest.approx(0.8) and taus[4] == pytest.approx(0.9)
    assert stepped("byol", ema=0.8, ema_end=0.0)[0].tau() == 0.8


def test_the_predictor_of_byol_is_the_online_networks_alone():
    method, x, out = stepped("byol")
    assert not any("momentum_predictor" in key for key in method.state_dict())
    z = method.projector(method.backbone(x[0]))
    torch.testing.assert_close(out["p1"], method.predictor(z))
    torch.testing.assert_close(out["m2"], method.momentum_projector(method.momentum_backbone(x[1])))


# --- NNCLR -------------------------------------------------------------------------------------------------------------


def test_neighbours_are_the_nearest_entries_of_before_and_only_the_first_views_projections_enter():
    method, x, out = stepped("nnclr")
    start = build_method(tiny("nnclr", queue=64), 10).double().queue.entries
    for z, n in (("z1", "n1"), ("z2", "n2")):
        for query, neighbour in zip(out[z].tolist(), out[n], strict=True):
            best = max(range(64), key=lambda j: cosine(query, start[j].tolist()))
            assert torch.equal(neighbour, start[best])
    assert torch.equal(method.queue.entries, start)
    method.after_step(out)
    assert torch.equal(method.queue.entries[:16], out["z1"]) and torch.equal(method.queue.entries[16:], start[16:])
    assert method.queue.labels.tolist() == [i % 10 for i in range(16)] + [-1] * 48


def test_agreement_counts_neighbours_of_the_own_class_and_no_loss_reads_labels():
    method, x, _ = stepped("nnclr")
    method.queue.labels.copy_(torch.arange(64) % 3)
    labels = torch.arange(16) % 4
    out = method(x, labels)
    found = []
    for z in (out["z1"], out["z2"]):
        for query, label in zip(z.tolist(), labels.tolist(), strict=True):
            best = max(range(64), key=lambda j: cosine(query, method.queue.entries[j].tolist()))
            found.append(best % 3 == label)
    assert float(out["agreement"]) == pytest.approx(sum(found) / 32)
    bare = method(x)
    assert "agreement" not in bare and torch.equal(bare["loss"], out["loss"])


# --- Fast-MoCo ---------------------------------------------------------------------------------------------------------


def test_fast_mocos_questions_are_pairs_of_pooled_patch_features():
    method, x, out = stepped("fastmoco")
    assert out["z1"].shape == out["p1"].shape == (6, 16, 8) and out["m1"].shape == (16, 8)
    top, left = x[0][:, :, :8], x[0][:, :, :, :8]
    patches = [top[..., :8], left[:, :, 8:], top[..., 8:], x[0][:, :, 8:, 8:]]  # column by column
    features = method.backbone(torch.cat(patches)).chunk(4)  # all patches in one batch, as the statistics of BatchNorm want
    pairs = [(features[a] + features[b]) / 2 for a in range(4) for b in range(a + 1, 4)]
    z = method.projector(torch.cat(pairs))
    torch.testing.assert_close(out["z1"].flatten(0, 1), z)
    torch.testing.assert_close(out["p1"].flatten(0, 1), method.predictor(z))
    torch.testing.assert_close(out["m1"], method.momentum_projector(method.momentum_backbone(x[0])))


def test_other_grids_and_combinations():
    for grid, combine, count in ((2, 1, 4), (2, 3, 4), (2, 4, 1), (4, 2, 120)):
        _, _, out = stepped("fastmoco", torch.float32, grid=grid, combine=combine)
        assert len(out["p1"]) == count


# --- the same step from lightly's parts --------------------------------------------------------------------------------


def into(head, ours):
    """One of lightly's heads with our weights. Its layers lack biases before a BatchNorm, where a bias changes nothing: ours
    are set to zero, and only the rest is compared."""
    state, theirs = ours.state_dict(), head.layers.state_dict()
    assert set(theirs) <= set(state) and all(key.endswith(".bias") for key in set(state) - set(theirs))
    with torch.no_grad():
        for key in set(state) - set(theirs):
            ours.get_parameter(key).zero_()
    head.layers.load_state_dict({key: state[key] for key in theirs})
    return head


def assert_same_step(method, out, value, parts=()):
    """Equal loss, and equal gradients of the first layer and of lightly's heads."""
    torch.testing.assert_close(out["loss"], value, rtol=1e-5, atol=1e-6)
    pairs = [(method.backbone.conv1.weight, method.backbone.conv1.weight)]
    pairs += [(ours[0].weight, theirs.layers[0].weight) for ours, theirs in parts]
    ours = torch.autograd.grad(out["loss"], [a for a, _ in pairs])
    theirs = torch.autograd.grad(value, [b for _, b in pairs], retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        assert a.abs().max() > 1e-4
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def lightly_parts():
    names = ("lightly.loss", "lightly.models.modules.heads", "lightly.models.modules", "lightly.models.utils")
    return [pytest.importorskip(name) for name in names]


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_moco_step_equals_one_composed_of_lightlys_parts(symmetric):
    loss, heads, _, utils = lightly_parts()
    method, x, out = stepped("moco", torch.float32, symmetric=symmetric, projector_last_norm=False)
    dim = method.backbone.dim
    head, twin_head = (into(heads.MoCoProjectionHead(dim, 16, 8), method.projector) for _ in range(2))
    twin = copy.deepcopy(method.backbone)

    def half(query, key):
        criterion = loss.NTXentLoss(temperature=T, memory_bank_size=(64, 8))
        criterion.memory_bank.bank = F.normalize(method.queue.entries, dim=1)
        with torch.no_grad():
            shuffled, order = utils.batch_shuffle(key)
            k = utils.batch_unshuffle(twin_head(twin(shuffled)), order)
        return criterion(head(method.backbone(query)), k), criterion.memory_bank.bank

    value, bank = half(x[0], x[1])
    if symmetric:
        value = (value + half(x[1], x[0])[0]) / 2
    assert_same_step(method, out, value, [(method.projector, head)])
    with torch.no_grad():  # the optimiser's part, then the twin's and the queue's
        for p in (*method.backbone.parameters(), *method.projector.parameters()):
            p.mul_(1.1)
    method.after_step(out)
    utils.update_momentum(method.backbone, twin, method.config.ema)
    torch.testing.assert_close(method.momentum_backbone.conv1.weight, twin.conv1.weight)
    if not symmetric:
        torch.testing.assert_close(F.normalize(method.queue.entries, dim=1), bank, rtol=1e-4, atol=1e-5)


def test_a_simsiam_step_equals_one_composed_of_lightlys_parts():
    loss, heads, _, _ = lightly_parts()
    method, x, _ = stepped("simsiam", torch.float32, projector=(16, 16, 8))
    head = into(heads.SimSiamProjectionHead(method.backbone.dim, 16, 8), method.projector)
    guess = into(heads.SimSiamPredictionHead(8, 8, 8), method.predictor)
    criterion = loss.NegativeCosineSimilarity()
    z = [head(method.backbone(view)) for view in x]
    value = (criterion(guess(z[0]), z[1].detach()) + criterion(guess(z[1]), z[0].detach())) / 2
    assert_same_step(method, method(x), value, [(method.projector, head), (method.predictor, guess)])


def test_a_byol_step_equals_one_composed_of_lightlys_parts():
    loss, heads, _, utils = lightly_parts()
    method, x, _ = stepped("byol", torch.float32, projector_last_norm=False, ema_end=0.0)
    dim = method.backbone.dim
    head, twin_head = (into(heads.BYOLProjectionHead(dim, 16, 8), method.projector) for _ in range(2))
    guess = into(heads.BYOLPredictionHead(8, 8, 8), method.predictor)
    twin, criterion = copy.deepcopy(method.backbone), loss.NegativeCosineSimilarity()
    p = [guess(head(method.backbone(view))) for view in x]
    with torch.no_grad():
        m = [twin_head(twin(view)) for view in x]
    value = 4 + 2 * (criterion(p[0], m[1]) + criterion(p[1], m[0]))  # the paper's sum of two squared distances
    out = method(x)
    assert_same_step(method, out, value, [(method.projector, head), (method.predictor, guess)])
    with torch.no_grad():
        for q in method.backbone.parameters():
            q.mul_(1.1)
    method.after_step(out)
    utils.update_momentum(method.backbone, twin, method.config.ema)
    torch.testing.assert_close(method.momentum_backbone.conv1.weight, twin.conv1.weight)


def test_an_nnclr_step_equals_one_composed_of_lightlys_parts_but_for_the_form_of_the_loss():
    loss, heads, modules, _ = lightly_parts()
    method, x, _ = stepped("nnclr", torch.float32, projector=(16, 16, 8))
    head = into(heads.NNCLRProjectionHead(method.backbone.dim, 16, 8), method.projector)
    guess = into(heads.NNCLRPredictionHead(8, 8, 8), method.predictor)
    bank = modules.NNMemoryBankModule(size=(64, 8))
    bank.bank = method.queue.entries.clone()
    z = [head(method.backbone(view)) for view in x]
    p = [guess(one) for one in z]
    n2 = bank(z[1].detach(), update=False)
    n1 = bank(z[0].detach(), update=True)
    out = method(x)
    torch.testing.assert_close(out["n1"], n1)
    torch.testing.assert_close(out["n2"], n2)

    def one_sided(n, p):  # the paper's and solo-learn's: neighbours choose among predictions
        return F.cross_entropy(F.normalize(n, dim=1) @ F.normalize(p, dim=1).T / T, torch.arange(len(n)))

    assert_same_step(method, out, (one_sided(n1, p[1]) + one_sided(n2, p[0])) / 2, [(method.predictor, guess)])
    method.after_step(out)
    torch.testing.assert_close(method.queue.entries, bank.bank)
    criterion = loss.NTXentLoss(temperature=T)  # lightly's: two-sided, with same-side negatives; MNCLGLF's too
    theirs = (criterion(n1, p[1]) + criterion(n2, p[0])) / 2
    torch.testing.assert_close(theirs, (nt_xent(n1, p[1], T) + nt_xent(n2, p[0], T)) / 2)
    assert abs(float((theirs - out["loss"]).detach())) > 0.1
