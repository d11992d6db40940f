"""The first convolution from the data: held against numpy and scikit-learn, and where it must not be touched."""

import numpy as np
import pytest
import torch
from conftest import QUIET, interrupt_after, same, tiny
from oracles import slow_patches
from sklearn.decomposition import PCA

from mnclglf_lite.evaluation.evaluate import baselines
from mnclglf_lite.models.resnet import ResNet
from mnclglf_lite.recipe.recipe import build_method
from mnclglf_lite.training import train
from mnclglf_lite.training.first_layer import EPSILON, patch_components, start_from_data, with_data_start
from mnclglf_lite.views.view import whole_images


@pytest.mark.parametrize("kernel", [2, 3])
def test_components_are_those_of_the_patches(kernel, toys):
    images = whole_images(toys.train.images[:12], 10)
    found, patches = patch_components(images, kernel).flatten(1).double().numpy(), slow_patches(images, kernel)
    moments = patches.T @ patches / len(patches)
    norms = np.linalg.norm(found, axis=1)
    units = found / norms[:, None]
    np.testing.assert_allclose(units @ units.T, np.eye(len(units)), atol=1e-5)
    values = np.einsum("ij,jk,ik->i", units, moments, units)
    np.testing.assert_allclose(moments @ units.T, units.T * values, atol=1e-5 * values.max())  # eigenvectors
    assert (np.diff(values) <= 1e-6).all() and (found[np.arange(len(found)), np.abs(found).argmax(1)] > 0).all()
    np.testing.assert_allclose(norms, (values + EPSILON) ** -0.5, rtol=1e-3)
    # images beside their negatives have the mean zero: there they are scikit-learn's principal components
    both = torch.cat([images, -images])
    theirs = PCA().fit(slow_patches(both, kernel)).explained_variance_
    ours = np.linalg.norm(patch_components(both, kernel).flatten(1).double().numpy(), axis=1) ** -2 - EPSILON
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("stem", "width"), [("patch", 16), ("patch", 32), ("cifar", 64)])
def test_both_signs_fill_the_channels_and_the_rest_stays_random(stem, width, toys):
    backbone = ResNet(width, (1,), stem)
    random = backbone.conv1.weight.detach().clone()
    start_from_data(backbone, toys.train.images, 16)
    weight = backbone.conv1.weight.detach()
    filters = patch_components(whole_images(toys.train.images, 16), weight.shape[-1])
    taken = min(width, 2 * len(filters))
    torch.testing.assert_close(weight[0:taken:2], filters[: -(-taken // 2)])
    torch.testing.assert_close(weight[1:taken:2], -filters[: taken // 2])
    assert torch.equal(weight[taken:], random[taken:])


def test_a_run_starts_from_its_data_in_every_network_and_goes_on_without(toys, tmp_path, monkeypatch):
    recipe = tiny("mnclglf", first_layer="data", optimiser="muon", steps=6)
    plain = build_method(recipe, 10)
    seen = []

    def look(run):
        seen.append({name: value.clone() for name, value in run.method.state_dict().items()})

    train.train(recipe, toys, callback=look, **QUIET)
    differ = {name for name, value in plain.state_dict().items() if not torch.equal(value, seen[0][name])}
    assert differ == {"backbone.conv1.weight", "momentum_backbone.conv1.weight"}
    whole = train.train(recipe, toys, **QUIET)
    with monkeypatch.context() as patch:
        interrupt_after(3, patch)
        assert train.train(recipe, toys, out=tmp_path, **QUIET).step == 3
    assert same(train.train(recipe, toys, out=tmp_path, resume=True, **QUIET), whole)


def test_the_untrained_network_with_that_start_is_a_baseline_beside_the_plain_one(toys):
    assert with_data_start(tiny("simclr", first_layer="random"), toys) == {}
    recipe = tiny("simclr", first_layer="data")
    ((name, encoder),) = with_data_start(recipe, toys).items()
    plain = build_method(recipe, 10).backbone
    changed = {key for key, value in encoder.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    assert changed == {"conv1.weight"}
    rows = baselines(plain, toys, others={name: encoder})
    assert list(rows)[-2:] == ["random encoder", name] and rows["random encoder"].conv1.weight.equal(plain.conv1.weight)
