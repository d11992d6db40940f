"""Readers against torchvision, Pillow and NumPy as independent readers of the same small files."""

import hashlib
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mnclglf_lite.core.errors import InputError
from mnclglf_lite.data import cifar, dataset, image_folders, toybox
from mnclglf_lite.data.dataset import load_dataset


def rows(images):
    """Each picture's bytes, for comparing sets of pictures."""
    return {picture.numpy().tobytes() for picture in images}


def assert_disjoint(splits):
    a, b, c = (rows(part.images) for part in splits)
    assert not (a & b or a & c or b & c)


# ---- ImageSet, load, the toy box


@pytest.fixture
def small_toybox(monkeypatch):
    for name, value in (("TOY_TRAIN", 80), ("TOY_HOLDOUT", 20), ("TOY_TEST", 30)):
        monkeypatch.setattr(dataset, name, value)


def test_toybox_parts_are_one_draw_cut_in_three(small_toybox):
    splits = load_dataset("toybox", seed=3, side=24)
    images, labels, factors, masks = toybox.draw(130, 3, 24)
    for part, (start, stop), split in zip(
        splits, ((0, 80), (80, 100), (100, 130)), ("train", "holdout", "test"), strict=True
    ):
        assert torch.equal(part.images, images[start:stop]) and torch.equal(part.labels, labels[start:stop])
        assert torch.equal(part.masks, masks[start:stop])
        assert part.factors.keys() == factors.keys()
        assert all(torch.equal(part.factors[key], factors[key][start:stop]) for key in factors)
        assert (part.split, part.name, part.side, len(part)) == (split, "toybox", 24, stop - start)
        assert part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
    assert splits.train.classes == tuple(toybox.CLASSES)
    assert splits.holdout.labels.bincount().tolist() == [2] * 10
    assert_disjoint(splits)


def test_version_1_of_the_toy_box_has_a_name_of_its_own(small_toybox):
    splits = load_dataset("toybox-v1", seed=3, side=24)
    images, labels, factors, masks = toybox.draw(130, 3, 24, version=1)
    assert splits.train.name == "toybox-v1" and splits.train.classes == tuple(toybox.design(1)[0])
    assert torch.equal(torch.cat([part.images for part in splits]), images)
    assert torch.equal(torch.cat([part.labels for part in splits]), labels)
    assert list(splits.test.factors) == list(toybox.FACTORS_1) and "stretch" not in splits.test.factors


def test_published_toybox_sizes():
    assert (dataset.TOY_TRAIN, dataset.TOY_HOLDOUT, dataset.TOY_TEST) == (10_000, 1_000, 2_000)


def test_subset_and_to_carry_everything(small_toybox):
    train = load_dataset("toybox").train
    index = torch.tensor([7, 0, 7])
    part = train.subset(index)
    assert torch.equal(part.images, train.images[index]) and torch.equal(part.masks, train.masks[index])
    assert torch.equal(part.labels, train.labels[index]) and part.classes == train.classes
    assert all(torch.equal(part.factors[key], train.factors[key][index]) for key in train.factors)
    away = part.to("meta")
    assert away.device.type == "meta" and away.masks.device.type == "meta" and away.labels.device.type == "meta"
    assert {value.device.type for value in away.factors.values()} == {"meta"}
    assert part.device.type == "cpu"
    with pytest.raises(InputError, match="torch.bool"):
        train.subset(torch.ones(80, dtype=torch.bool))


def test_unknown_names_and_sides():
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        load_dataset("cifar-10")
    with pytest.raises(InputError, match="folder:PATH"):
        load_dataset("mnist")
    with pytest.raises(InputError, match="32 pixels wide, got side=64"):
        load_dataset("cifar10", side=64)
    with pytest.raises(InputError, match="whole number of pixels"):
        load_dataset("toybox", side=2.5)


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MNCLGLF_LITE_DATA", str(tmp_path / "x"))
    assert dataset.data_root() == tmp_path / "x"
    monkeypatch.delenv("MNCLGLF_LITE_DATA")
    assert dataset.CHECKOUT == Path(__file__).resolve().parents[2]
    checkout = tmp_path / "checkout"
    (checkout / "data").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    monkeypatch.setattr(dataset, "CHECKOUT", checkout.resolve())
    assert dataset.data_root() == checkout.resolve() / "data"
    (checkout / "pyproject.toml").unlink()  # an installed package
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert dataset.data_root() == tmp_path / ".cache" / "mnclglf_lite"


def test_holdout_of_cifar_is_balanced_and_never_changes():
    labels = np.arange(50_000) * 7 % 10
    kept, held = dataset.stratified(labels, dataset.HOLDOUT_SHARE)
    assert np.bincount(labels[held]).tolist() == [500] * 10
    assert sorted([*kept, *held]) == list(range(50_000))
    # Of the first draw ever made; any other value means that the hold-outs of old results are not today's.
    assert hashlib.sha256(held.astype("<i8").tobytes()).hexdigest()[:16] == "590775d6bc456dd4"


def test_importing_data_and_fetch_is_light():
    code = (
        "import sys, mnclglf_lite.data.dataset, mnclglf_lite.data.fetch\n"
        "assert not {'torchvision', 'PIL', 'matplotlib', 'sklearn'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=dataset.CHECKOUT)


# ---- CIFAR


def write_batch(path, count, key, classes, seed):
    draw = np.random.RandomState(seed)
    entry = {
        "data": draw.randint(0, 256, (count, 3072)).astype(np.uint8),
        key: (np.arange(count) % classes).tolist(),
        "filenames": [f"{i}.png" for i in range(count)],
    }
    path.write_bytes(pickle.dumps(entry, protocol=2))


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def fake_cifar(monkeypatch, tmp_path):
    """Small CIFAR-10 and CIFAR-100 in torchvision's layout, with torchvision's checksum lists to match."""
    from torchvision.datasets import CIFAR10, CIFAR100

    ten, hundred = tmp_path / CIFAR10.base_folder, tmp_path / CIFAR100.base_folder
    for folder in (ten, hundred):
        folder.mkdir()
    for i, (file, _) in enumerate([*CIFAR10.train_list, *CIFAR10.test_list]):
        write_batch(ten / file, 40, "labels", 10, i)
    (ten / "batches.meta").write_bytes(pickle.dumps({"label_names": cifar.CIFAR10_CLASSES}, protocol=2))
    write_batch(hundred / "train", 1000, "fine_labels", 100, 10)
    write_batch(hundred / "test", 200, "fine_labels", 100, 11)
    (hundred / "meta").write_bytes(pickle.dumps({"fine_label_names": [f"c{i}" for i in range(100)]}, protocol=2))
    for source, folder in ((CIFAR10, ten), (CIFAR100, hundred)):
        for which in ("train_list", "test_list"):
            monkeypatch.setattr(source, which, [[f, md5(folder / f)] for f, _ in getattr(source, which)])
        monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(folder / source.meta["filename"])})
    return tmp_path


@pytest.mark.parametrize("name, classes", [("cifar10", 10), ("cifar100", 100)])
def test_cifar_is_what_torchvision_reads(fake_cifar, name, classes):
    import torchvision

    splits = load_dataset(name, fake_cifar)
    source = getattr(torchvision.datasets, name.upper())
    oracle = {train: list(source(fake_cifar, train=train)) for train in (True, False)}
    want = {np.asarray(picture).transpose(2, 0, 1).tobytes(): label for picture, label in oracle[True]}
    got = {}
    for part in splits[:2]:
        for image, label in zip(part.images, part.labels.tolist(), strict=True):
            got[image.numpy().tobytes()] = label
    assert got == want
    test = torch.stack([torch.from_numpy(np.array(p).transpose(2, 0, 1)) for p, _ in oracle[False]])
    assert torch.equal(splits.test.images, test)
    assert splits.test.labels.tolist() == [label for _, label in oracle[False]]
    assert len(splits.train.classes) == classes
    assert len(splits.holdout) == len(oracle[True]) // 10
    assert set(splits.holdout.labels.bincount().tolist()) == {len(oracle[True]) // 10 // classes}
    assert_disjoint(splits)


def test_missing_cifar_says_where_and_how(tmp_path):
    with pytest.raises(InputError) as caught:
        load_dataset("cifar10", tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "cifar-10-batches-py") in text and "mnclglf-lite fetch cifar10" in text
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    with pytest.raises(InputError, match=re.escape(f"give its parent, {tmp_path}")):
        load_dataset("cifar10", inner)
    with pytest.raises(InputError, match="data_batch_1 is missing"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_cut_cifar_file_is_named(fake_cifar, file):
    path = fake_cifar / "cifar-10-batches-py" / file
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=f"{file} is damaged.*fetch cifar10"):
        load_dataset("cifar10", fake_cifar)


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("file", ["data_batch_1", "test_batch", "batches.meta"])
def test_no_unchecked_pickle_is_ever_opened(fake_cifar, tmp_path, file):
    mark = tmp_path / "ran"
    pickle.loads(pickle.dumps(Bomb(mark))).close()
    assert mark.exists()  # the bomb works
    mark.unlink()
    (fake_cifar / "cifar-10-batches-py" / file).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match="damaged"):
        load_dataset("cifar10", fake_cifar)
    assert not mark.exists()


@pytest.mark.parametrize("error", [ImportError("no module"), RuntimeError("operator torchvision::nms missing")])
def test_broken_torchvision_is_said(monkeypatch, tmp_path, error):
    import builtins

    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name.startswith("torchvision"):
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(InputError, match="pip install --upgrade torch torchvision") as caught:
        load_dataset("cifar10", tmp_path)
    assert str(error) in str(caught.value)


@pytest.fixture
def fake_arrays(monkeypatch, tmp_path):
    folder = tmp_path / cifar.CIFAR10_ARRAYS
    folder.mkdir()
    sums, draw = {}, np.random.RandomState(1)
    for split, count in (("train", 100), ("test", 20)):
        images = draw.randint(0, 256, (count, 3, 32, 32)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        np.save(folder / f"{split}_images.npy", images)
        np.save(folder / f"{split}_labels.npy", labels)
        sums[split] = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    monkeypatch.setattr(cifar, "CIFAR10_SHA256", sums)
    return tmp_path


def test_plain_arrays_are_read_and_checked(fake_arrays):
    splits = load_dataset("cifar10", fake_arrays)
    folder = fake_arrays / cifar.CIFAR10_ARRAYS
    assert np.array_equal(splits.test.images, np.load(folder / "test_images.npy"))
    assert [len(part) for part in splits] == [90, 10, 20] and splits.train.classes[3] == "cat"
    labels = np.load(folder / "train_labels.npy")
    labels[5] += 1
    np.save(folder / "train_labels.npy", labels)
    with pytest.raises(InputError, match="train arrays.*not CIFAR-10"):
        load_dataset("cifar10", fake_arrays)
    np.save(folder / "train_labels.npy", np.array([Bomb(fake_arrays / "ran")], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        load_dataset("cifar10", fake_arrays)
    assert not (fake_arrays / "ran").exists()


# ---- TinyImageNet


@pytest.fixture
def fake_tiny(monkeypatch, tmp_path):
    for name, value in (("TINY_CLASSES", 3), ("TINY_TRAIN", 4), ("TINY_VAL", 2), ("TINY_SIDE", 8)):
        monkeypatch.setattr(image_folders, name, value)
    folder = tmp_path / "tiny-imagenet-200"
    draw = np.random.RandomState(2)
    wnids = ["n03", "n01", "n02"]  # the published list is not sorted either

    def picture(path, grey=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.randint(0, 256, (8, 8) if grey else (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path, "JPEG")

    for wnid in wnids:
        for i in range(4):
            picture(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", grey=i == 1)
    notes = []
    for i in range(6):
        picture(folder / "val" / "images" / f"val_{i}.JPEG", grey=i == 2)
        notes.append(f"val_{i}.JPEG\t{wnids[i % 3]}\t0\t0\t7\t7\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(notes))
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
    (folder / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tbullfrog\nn03\tcrane\nn9\tno\n")
    return tmp_path


def test_tinyimagenet_against_pillow(fake_tiny):
    splits = load_dataset("tinyimagenet", fake_tiny)
    folder = fake_tiny / "tiny-imagenet-200"
    assert splits.train.classes == ("goldfish", "bullfrog", "crane")
    assert [len(part) for part in splits] == [9, 3, 6]
    assert splits.holdout.labels.tolist() == [0, 1, 2]

    def read(path):
        return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).tobytes()

    want = {
        read(path): label
        for label, wnid in enumerate(["n01", "n02", "n03"])
        for path in (folder / "train" / wnid).rglob("*.JPEG")
    }
    got = {
        image.numpy().tobytes(): label
        for part in splits[:2]
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    }
    assert got == want
    for i in range(6):
        assert splits.test.images[i].numpy().tobytes() == read(folder / "val" / "images" / f"val_{i}.JPEG")
    assert splits.test.labels.tolist() == [2, 0, 1, 2, 0, 1]
    grey = splits.test.images[2]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])


def test_tinyimagenet_refuses_wrong_counts(fake_tiny):
    folder = fake_tiny / "tiny-imagenet-200"
    extra = folder / "train" / "n02" / "images" / "extra.JPEG"
    shutil.copy(folder / "train" / "n02" / "images" / "n02_0.JPEG", extra)
    with pytest.raises(InputError, match="train part.* has 5 images of class n02, expected 4"):
        load_dataset("tinyimagenet", fake_tiny)
    extra.unlink()
    (folder / "val" / "n01").mkdir()  # sorted into class folders, as many scripts do
    shutil.move(folder / "val" / "images" / "val_1.JPEG", folder / "val" / "n01" / "val_1.JPEG")
    with pytest.raises(InputError, match="val part.* has 1 images of class n01, expected 2.*moved out"):
        load_dataset("tinyimagenet", fake_tiny)


def test_tinyimagenet_damaged_or_missing(fake_tiny, tmp_path):
    folder = fake_tiny / "tiny-imagenet-200"
    bad = folder / "train" / "n01" / "images" / "n01_2.JPEG"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(InputError, match="1 of the train pictures cannot be read, first .*n01_2.JPEG"):
        load_dataset("tinyimagenet", fake_tiny)
    (folder / "val" / "val_annotations.txt").unlink()
    with pytest.raises(InputError, match="val_annotations.txt.*fetch tinyimagenet"):
        load_dataset("tinyimagenet", fake_tiny)


# ---- any folder


@pytest.fixture
def pictures(tmp_path):
    """Two classes of ten pictures each, of many sizes, kinds and colour modes."""
    draw = np.random.RandomState(5)
    kinds = [("png", "RGB"), ("jpg", "RGB"), ("png", "RGBA"), ("png", "L"), ("bmp", "RGB"), ("png", "P")]
    for label in ("ants", "bees"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(10):
            kind, mode = kinds[i % len(kinds)]
            size = tuple(int(length) for length in draw.randint(10, 60, 2))
            picture = Image.fromarray(draw.randint(0, 256, (*size, 3)).astype(np.uint8)).convert(mode)
            picture.save(tmp_path / "set" / label / f"{i}.{kind}")
    return tmp_path / "set"


@pytest.mark.parametrize("side", [None, 16])
def test_folder_against_torchvision(pictures, side):
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    splits = load_dataset(f"folder:{pictures}", side=side)
    size = side or 32
    oracle = ImageFolder(pictures, Compose([Resize(size), CenterCrop(size), PILToTensor()]))
    want = {image.numpy().tobytes(): label for image, label in oracle}
    got = {
        image.numpy().tobytes(): label
        for part in splits
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    }
    assert got == want and splits.test.classes == tuple(oracle.classes)
    assert [part.labels.bincount().tolist() for part in splits] == [[7, 7], [1, 1], [2, 2]]
    assert_disjoint(splits)
    again = load_dataset(f"folder:{pictures}", side=side, seed=9)
    assert all(torch.equal(a.images, b.images) for a, b in zip(splits, again, strict=True))


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_folder_with_a_test_part(pictures, tmp_path, test_name):
    shutil.copytree(pictures, tmp_path / "both" / test_name)
    shutil.copytree(pictures, tmp_path / "both" / "train")
    shutil.rmtree(tmp_path / "both" / test_name / "ants")  # a test part may lack a class; labels stay
    splits = load_dataset(f"folder:{tmp_path / 'both'}")
    assert [part.labels.bincount(minlength=2).tolist() for part in splits] == [[9, 9], [1, 1], [0, 10]]
    (tmp_path / "both" / test_name / "wasps").mkdir()
    with pytest.raises(InputError, match="wasps"):
        load_dataset(f"folder:{tmp_path / 'both'}")
    shutil.rmtree(tmp_path / "both" / "train")
    with pytest.raises(InputError, match="no train/"):
        load_dataset(f"folder:{tmp_path / 'both'}")


def test_folder_leaves_out_what_cannot_be_read(pictures, capsys):
    before = load_dataset(f"folder:{pictures}")
    (pictures / "ants" / "a note.png").write_text("not a picture")
    cut = (pictures / "bees" / "1.jpg").read_bytes()
    (pictures / "bees" / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    (pictures / "bees" / "readme.txt").write_text("ignored: no picture ending")
    capsys.readouterr()
    after = load_dataset(f"folder:{pictures}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "a note.png" in lines[0] and "cut.jpg" in lines[1]
    assert all(torch.equal(a.images, b.images) for a, b in zip(before, after, strict=True))


def test_folder_refusals(tmp_path):
    with pytest.raises(InputError, match="no folder of images"):
        load_dataset(f"folder:{tmp_path / 'none'}")
    with pytest.raises(InputError, match="no class folders"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "ants").mkdir()
    with pytest.raises(InputError, match="no images under"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "ants" / "x.png").write_text("text")
    with pytest.raises(InputError, match="none of the 1 image files"):
        load_dataset(f"folder:{tmp_path}")
    Image.new("RGB", (9, 9)).save(tmp_path / "ants" / "y.png")
    with pytest.raises(InputError, match="'ants' in .* has 1 readable images.*at least 3"):
        load_dataset(f"folder:{tmp_path}")
