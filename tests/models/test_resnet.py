import pytest
import torch
from torch import nn

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.models.heads import predictor, projector
from mnclglf_lite.models.resnet import STEMS, ResNet


@pytest.mark.parametrize("blocks, name", [((2, 2, 2, 2), "resnet18"), ((3, 4, 6, 3), "resnet34")])
def test_width_64_is_torchvisions_network(blocks, name):
    models = pytest.importorskip("torchvision.models")
    theirs = getattr(models, name)()
    theirs.fc = nn.Identity()
    ours = ResNet(64, blocks, "imagenet")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x), theirs.train(mode)(x))


def test_forward_and_backward_of_a_cifar_stem_equal_torchvisions_with_that_stem():
    models = pytest.importorskip("torchvision.models")
    theirs = models.resnet18()
    theirs.fc, theirs.maxpool = nn.Identity(), nn.Identity()
    theirs.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    ours = ResNet(64, (2, 2, 2, 2), "cifar")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stem, side", list(zip(STEMS, (32, 16, 8, 16), strict=True)))
def test_maps_by_name(stem, side):
    net = ResNet(8, (1, 1, 1), stem)
    maps = net.maps(torch.randn(2, 3, 32, 32))
    assert {name: tuple(m.shape[1:]) for name, m in maps.items()} == {
        "stem": (8, side, side),
        "layer1": (8, side, side),
        "layer2": (16, side // 2, side // 2),
        "layer3": (32, side // 4, side // 4),
        "pooled": (32,),
    }
    assert net.dim == 32


def test_each_block_starts_as_the_identity():
    net = ResNet(8, (2,), "cifar")
    maps = net.maps(torch.randn(4, 3, 8, 8))
    torch.testing.assert_close(maps["layer1"], maps["stem"])


def test_sizes_the_documents_state():
    nets = (ResNet(64, (2, 2, 2, 2), "imagenet"), ResNet(32, (1, 1, 1), "patch"))
    heads = (projector((512, 2048, 2048, 2048)), predictor(2048, 512))
    counts = [sum(p.numel() for p in net.parameters()) for net in (*nets, *heads)]
    assert counts[:2] == [11_176_512, 306_880]  # torchvision's resnet18 less its fc
    assert [round(count / 1e6, 2) for count in counts[2:]] == [9.46, 2.10]


def test_heads_have_the_release_layers():
    names = [type(layer).__name__ for layer in projector((512, 2048, 2048, 2048))]
    assert names == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in predictor(8, 4)] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert all(layer.bias is not None for layer in projector((4, 4, 4)) if isinstance(layer, nn.Linear))


def test_bad_settings_say_what_is_wrong():
    with pytest.raises(InputError, match="did you mean 'cifar'"):
        ResNet(stem="cifr")
    with pytest.raises(InputError, match="width >= 1"):
        ResNet(width=0)
