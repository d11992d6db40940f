import builtins
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnclglf_lite import doctor

ROOT = Path(doctor.__file__).parent.parent


@pytest.fixture
def breaks(monkeypatch):
    """breaks("torchvision", error): importing it, or anything inside it, raises that from here on."""

    def set_up(name, error):
        real_module, real_import = importlib.import_module, builtins.__import__

        def mine(wanted):
            return wanted == name or wanted.startswith(name + ".")

        def import_module(wanted, *rest):
            if mine(wanted):
                raise error
            return real_module(wanted, *rest)

        def plain_import(wanted, *rest, **named):
            if mine(wanted):
                raise error
            return real_import(wanted, *rest, **named)

        for loaded in [m for m in sys.modules if mine(m)]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setattr(importlib, "import_module", import_module)
        monkeypatch.setattr(builtins, "__import__", plain_import)

    return set_up


def about(found, word):
    return [f for f in found if f.what.startswith(word)]


def halves(text):
    """What works, and what doesn't: two sets of lines."""
    works, fails = re.search(r"will work:\n(.*?)\n\nwon't work as it is:\n(.*)", text, re.S).groups()
    return {line.strip() for line in works.splitlines()}, {line.strip() for line in fails.splitlines()}


def test_it_names_what_is_there_and_what_is_not(tmp_path):
    found = doctor.diagnose(tmp_path)
    import torch

    assert about(found, f"torch {torch.__version__.split('+')[0]}")
    assert about(found, "cpu: ")
    for name in ("cifar10", "cifar100", "tinyimagenet"):
        (finding,) = about(found, f"{name}: not in {tmp_path}")
        assert finding.status == "note" and finding.remedy == f"mnclglf-lite fetch {name}"
    assert any("GB free" in f.what for f in found)
    assert not list(tmp_path.iterdir())  # it looks, and leaves nothing


def test_a_data_folder_that_is_not_there_yet_is_no_trouble(tmp_path):
    found = doctor.diagnose(tmp_path / "a" / "b")
    assert any("GB free" in f.what for f in found) and not (tmp_path / "a").exists()


def test_torchvision_of_another_torch_is_explained(breaks, tmp_path):
    breaks("torchvision", RuntimeError("operator torchvision::nms does not exist"))
    text, code = doctor.report(tmp_path)
    (line,) = [line for line in text.splitlines() if "nms does not exist" in line]
    assert line.startswith("PROBLEM torchvision")
    assert "pip install --force-reinstall torch torchvision" in text and "another torch" in text
    works, fails = halves(text)
    assert any("toy box" in line for line in works) and any("CIFAR" in line for line in fails)
    assert code == 1


def test_missing_matplotlib_is_one_finding(breaks, tmp_path):
    breaks("matplotlib", ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"))
    found = doctor.diagnose(tmp_path)
    (finding,) = about(found, "matplotlib")
    assert finding.status == "problem" and finding.what.endswith("is not installed")
    assert finding.remedy == "pip install matplotlib"


def test_without_torch_it_still_speaks_and_promises_nothing(breaks, tmp_path):
    breaks("torch", OSError("libcudart.so.13: cannot open shared object file"))
    text, code = doctor.report(tmp_path)
    works, _ = halves(text)
    assert code == 1 and works == {"(nothing)"} and "libcudart" in text


def test_a_cifar_folder_that_cannot_be_read_is_a_note(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (finding,) = about(doctor.diagnose(tmp_path), "cifar10 in")
    assert finding.status == "note" and "cannot be used" in finding.what


def test_extras_are_notes_and_are_not_imported(monkeypatch, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "umap" else real(name))
    (finding,) = about(doctor.diagnose(tmp_path), "umap-learn")
    assert finding.status == "note" and finding.remedy == "pip install umap-learn"
    code = "import sys; from mnclglf_lite.doctor import report; report('.'); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "have, asks, status",
    [
        ("2.15.0+cpu", "torch (==2.15.0)", "ok"),
        ("2.13.0", "torch==2.15.0", "problem"),
        ("2.9.1", "torch>=2.14", "problem"),
    ],
)
def test_torchvision_says_which_torch_it_wants(monkeypatch, have, asks, status):
    versions = {"torch": have, "torchvision": "0.29.2"}
    monkeypatch.setattr(doctor, "version_of", versions.get)
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda package: ["numpy", asks])
    (finding,) = doctor._pair()
    assert finding.status == status and f"torch {have}" in finding.what.replace("is ", "")


def test_an_old_version_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda package, module=None: "0.9.0")
    finding = doctor._looked_up("lightly")
    assert finding.status == "note" and "older than 1.5" in finding.what and "lightly>=1.5" in finding.remedy


def test_versions_compare_as_numbers():
    assert doctor.numbers("2.15.0+cpu") > doctor.numbers("2.9.1") == (2, 9, 1)
    assert doctor.numbers("2.16.0a1+git12") == (2, 16, 0)


def test_its_bounds_are_those_of_the_project_file():
    text = (ROOT / "pyproject.toml").read_text()
    for package, (_, lowest, _) in {**doctor.BASE, **doctor.EXTRAS}.items():
        assert f'"{package}>={lowest}"' in text, package


def test_exit_code_is_zero_where_nothing_is_broken(monkeypatch):
    well = doctor.Finding("ok", "torch", ability="a", core=True)
    notes = [well, doctor.Finding("note", "umap", "pip", "b")]
    monkeypatch.setattr(doctor, "diagnose", lambda root: notes)
    text, code = doctor.report()
    assert code == 0 and halves(text) == ({"a"}, {"b"}) and "-> pip" in text
    notes.append(doctor.Finding("problem", "torchvision"))
    assert doctor.report()[1] == 1


def test_a_gpu_is_described(monkeypatch):
    import torch

    gpu = type("Properties", (), {"name": "NVIDIA X", "total_memory": 24 * 2**30, "major": 8, "minor": 6})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: gpu)
    what = [f.what for f in doctor._device()]
    assert what[:2] == [f"cuda:{i}: NVIDIA X, 24 GiB, compute capability 8.6" for i in (0, 1)]


def test_a_gpu_that_torch_cannot_use_is_noticed(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    finding = next(iter(doctor._device()))
    assert finding.status == "note" and "pytorch.org" in finding.remedy


def test_a_folder_without_room_or_leave_to_write_is_named(monkeypatch, tmp_path):
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=500_000_000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage)
    monkeypatch.setattr(doctor, "writable", lambda place: False)
    found = doctor.diagnose(tmp_path)
    (finding,) = about(found, "0.5 GB free")
    assert finding.status == "note" and "make room" in finding.remedy
    assert about(found, f"{tmp_path} may not be written to")
