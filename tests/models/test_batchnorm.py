"""BatchNorm in groups, against ordinary BatchNorms that see one group each."""

import copy

import pytest
import torch
from conftest import tiny
from torch import nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.models.batchnorm import SplitBatchNorm, shuffle_batch, split_batchnorm
from mnclglf_lite.models.resnet import ResNet
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.results.export import export_backbone, load_backbone

KINDS = {"1d": (nn.BatchNorm1d, (12, 5)), "2d": (nn.BatchNorm2d, (12, 5, 3, 4))}


def norm_and_input(kind, seed=0, dtype=torch.float64):
    """A BatchNorm with weights and running statistics of its own, and a batch whose groups differ."""
    layer, shape = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    norm = layer(5).to(dtype)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.copy_(torch.rand(5, generator=generator) + 0.5)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    return norm, x + torch.arange(12).view(-1, *[1] * (x.ndim - 1)) / 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [2, 3, 6])
def test_each_group_is_what_a_batchnorm_of_its_own_makes_of_it(kind, groups):
    norm, x = norm_and_input(kind)
    alone = [copy.deepcopy(norm) for _ in range(groups)]
    expected = torch.cat([one(part) for one, part in zip(alone, x.chunk(groups), strict=True)])
    split = split_batchnorm(nn.Sequential(norm), groups)
    torch.testing.assert_close(split(x), expected)
    for name in ("running_mean", "running_var"):  # averaged over the groups
        torch.testing.assert_close(getattr(norm, name), torch.stack([getattr(one, name) for one in alone]).mean(0))
    assert int(norm.num_batches_tracked) == 1


def test_the_formula_written_as_loops():
    norm, x = norm_and_input("2d")
    out = split_batchnorm(nn.Sequential(norm), 3)(x)
    for g in range(3):
        for c in range(5):
            values = [float(v) for i in range(4 * g, 4 * g + 4) for v in x[i, c].flatten()]
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / len(values)
            value = (float(x[4 * g + 1, c, 2, 3]) - mean) / (variance + 1e-5) ** 0.5
            expected = value * norm.weight[c].item() + norm.bias[c].item()
            assert float(out[4 * g + 1, c, 2, 3]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_separate_batchnorms(kind):
    norm, x = norm_and_input(kind)
    twin, weights = copy.deepcopy(norm), torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    split = split_batchnorm(nn.Sequential(norm), 3)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    (split(ours) * weights).sum().backward()
    (torch.cat([twin(part) for part in theirs.chunk(3)]) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(norm.weight.grad, twin.weight.grad)
    torch.testing.assert_close(norm.bias.grad, twin.bias.grad)


def test_pictures_meet_inside_their_group_alone():
    norm, x = norm_and_input("2d")
    other = x.clone()
    other[5] += 3  # of the second group of three
    split = split_batchnorm(nn.Sequential(copy.deepcopy(norm)), 3)
    moved = (split(x) != split(other)).flatten(1).any(1)
    assert moved.tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert (norm(x) != norm(other)).flatten(1).any(1).all()  # an ordinary BatchNorm lets everybody know


@pytest.mark.parametrize("kind", KINDS)
def test_in_eval_mode_it_is_batchnorm_for_any_batch(kind):
    norm, x = norm_and_input(kind)
    split = split_batchnorm(nn.Sequential(copy.deepcopy(norm)), 4).eval()
    before = {key: value.clone() for key, value in split.state_dict().items()}
    assert torch.equal(split(x[:7]), norm.eval()(x[:7]))
    assert all(torch.equal(value, before[key]) for key, value in split.state_dict().items())


def test_one_group_leaves_everything_as_it_is():
    net = ResNet(4, (1, 1), "patch")
    kinds = [type(m) for m in net.modules()]
    assert split_batchnorm(net, 1) is net and [type(m) for m in net.modules()] == kinds
    split = split_batchnorm(split_batchnorm(copy.deepcopy(net), 4), 1)  # and takes groups away again
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(split(x), net(x))
    with pytest.raises(InputError, match="bn_splits must be at least 1"):
        split_batchnorm(net, 0)


def test_every_norm_is_split_and_keeps_names_weights_and_frozenness():
    net = ResNet(4, (1, 1), "patch").requires_grad_(False)
    count = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    before = {key: value.clone() for key, value in net.state_dict().items()}
    split = split_batchnorm(net, 4)
    assert sum(isinstance(m, SplitBatchNorm) for m in split.modules()) == count > 3
    after = split.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[key], before[key]) for key in before)
    assert not any(p.requires_grad for p in split.parameters())
    again = copy.deepcopy(split)
    assert all(m.groups == 4 for m in again.modules() if isinstance(m, SplitBatchNorm))


def test_a_batch_that_does_not_divide_is_refused():
    split = split_batchnorm(nn.Sequential(nn.BatchNorm1d(2)), 4)
    with pytest.raises(InputError, match="a batch of 6 does not divide into 4 bn_splits"):
        split(torch.randn(6, 2))


def test_channels_last_stays_channels_last_and_changes_nothing():
    norm, x = norm_and_input("2d")
    split = split_batchnorm(nn.Sequential(norm), 3)
    last = split(x.contiguous(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, split(x))


def test_half_precision_goes_through():
    norm, x = norm_and_input("2d", dtype=torch.float32)
    split = split_batchnorm(nn.Sequential(norm), 3)
    half = split(x.bfloat16())
    assert half.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
    torch.testing.assert_close(half.float(), split(x), atol=0.05, rtol=0.02)


def test_equals_lightlys_split_batchnorm_which_deals_pictures_out_in_turn():
    lightly = pytest.importorskip("lightly.models.batchnorm")
    groups, theirs = 3, lightly.SplitBatchNorm(5, num_splits=3)
    norm, _ = norm_and_input("2d", dtype=torch.float32)
    with torch.no_grad():
        theirs.weight.copy_(norm.weight)
        theirs.bias.copy_(norm.bias)
        theirs.running_mean.copy_(norm.running_mean.repeat(groups))
        theirs.running_var.copy_(norm.running_var.repeat(groups))
    split = split_batchnorm(nn.Sequential(norm), groups)
    # Their picture i is of group i mod G; ours are of the group i // (N / G). `turn` lists ours in their order.
    turn = torch.arange(12).view(groups, -1).T.flatten()
    for seed in range(3):  # their statistics are averaged when training ends, ours at every step: it comes to the same
        _, x = norm_and_input("2d", seed, torch.float32)
        torch.testing.assert_close(split(x)[turn], theirs(x[turn]), rtol=1e-5, atol=1e-5)
    theirs.eval()
    torch.testing.assert_close(norm.running_mean, theirs.running_mean[:5])
    torch.testing.assert_close(norm.running_var, theirs.running_var[:5])


def test_a_backbone_trained_in_groups_is_exported_as_any_other(tmp_path):
    method = build_method(tiny("moco", bn_splits=4), 10)
    x = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    method([x, x.flip(3)])
    assert isinstance(method.backbone.bn1, SplitBatchNorm)
    backbone = load_backbone(export_backbone(method.backbone, tmp_path / "groups.safetensors"))
    assert type(backbone.bn1) is nn.BatchNorm2d
    torch.testing.assert_close(backbone(x), method.backbone.eval()(x))


def test_a_shuffled_batch_holds_the_same_rows_and_comes_back_in_order():
    x = torch.arange(24.0).view(12, 2)
    mixed, undo = shuffle_batch(x, torch.Generator().manual_seed(0))
    assert not torch.equal(mixed, x) and torch.equal(mixed.sort(dim=0).values, x)
    assert torch.equal(undo(mixed * 3), x * 3)
