import builtins
import importlib
import os
import subprocess
import sys

import pytest

from mnclglf_lite.cli import doctor


def without(monkeypatch, module, error):
    """Importing `module` raises, by whatever way it is imported."""
    plain, whole = builtins.__import__, importlib.import_module

    def guarded(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise error
        return plain(name, *args, **kwargs)

    def guarded_module(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise error
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    monkeypatch.setattr(importlib, "import_module", guarded_module)


def of(found, word):
    return next(finding for finding in found if finding.what.startswith(word))


def test_a_good_installation_passes(tmp_path):
    text, code = doctor.report(tmp_path)
    assert code == 0
    assert "Will work: the toy box, training" in text
    found = doctor.diagnose(tmp_path)
    assert of(found, "torch ").level == of(found, "numpy").level == of(found, "toybox").level == "ok"


def test_a_torchvision_of_another_torch_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda name: "0.29.2")
    without(monkeypatch, "torchvision", RuntimeError("operator torchvision::nms does not exist"))
    finding = next(iter(doctor._torchvision()))
    assert finding.level == "problem" and not finding.essential
    assert "built for another torch" in finding.what and "toy box" in finding.what
    assert "torch torchvision" in finding.remedy
    assert doctor.report(tmp_path)[1] == 0  # the toy box trains without it


@pytest.mark.parametrize("requirement, level", [("torch==2.11.0", "problem"), ("torch (>=2.14.0)", "ok")])
def test_a_pair_that_does_not_match_is_seen_though_it_imports(monkeypatch, requirement, level):
    versions = {"torchvision": "0.30.0", "torch": "2.15.0+cu132"}
    monkeypatch.setattr(doctor.importlib.metadata, "version", versions.get)
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ["numpy", requirement, "pillow>=5"])
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    assert next(iter(doctor._torchvision())).level == level


@pytest.mark.parametrize(
    "version, requirement, fits",
    [
        ("2.15.0+cpu", "torch==2.15.0", True),
        ("2.15.1", "torch==2.15.0", False),
        ("2.13.0", "torch (>=2.14.0)", False),
        ("3.0.0", "torch>=2.14.0", True),
        ("2.13.0", "torch", True),
    ],
)
def test_requirements_are_read(version, requirement, fits):
    assert doctor._fits(version, requirement) is fits


@pytest.mark.parametrize("module, package", [("matplotlib", "matplotlib"), ("sklearn", "scikit-learn")])
def test_a_broken_library_is_a_problem_but_not_the_end(monkeypatch, tmp_path, module, package):
    without(monkeypatch, module, ImportError("binary incompatible"))
    text, code = doctor.report(tmp_path)
    assert code == 0 and f"{package} does not import (ImportError: binary incompatible)" in text
    assert f"--force-reinstall {package}" in text


def test_without_numpy_or_torch_the_exit_code_is_1_and_the_report_still_comes(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        without(patch, "torch", OSError("libcudart.so.13: cannot open shared object file"))
        text, code = doctor.report(tmp_path)
    assert code == 1 and "libcudart" in text and "will NOT work" in text and "toybox" in text
    without(monkeypatch, "numpy", ImportError("no numpy"))
    assert doctor.report(tmp_path)[1] == 1


def test_it_runs_where_torch_cannot_even_be_found(tmp_path):
    """In a fresh Python that has only the standard library."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(doctor.__file__)))
    environment = {"PYTHONPATH": root, "PATH": os.environ["PATH"], "MNCLGLF_LITE_DATA": str(tmp_path)}
    command = [sys.executable, "-S", "-m", "mnclglf_lite.cli.doctor"]  # -S: no site-packages
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "pip install torch torchvision" in done.stdout and not done.stderr


def test_missing_extras_say_what_is_lost_and_how_to_get_it(monkeypatch):
    def version(name):
        if name in doctor.OPTIONAL:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = list(doctor._packages())
    finding = of(found, "umap-learn")
    assert finding.level == "note" and finding.remedy == "pip install umap-learn" and "PCA" in finding.what
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: "another package")
    assert "another package named umap" in of(list(doctor._packages()), "umap-learn").remedy


def test_data_that_is_there_and_data_that_is_not(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    found = doctor.diagnose(tmp_path)
    assert of(found, "cifar10:").level == "ok"
    assert of(found, "cifar100:").level == "note" and "fetch cifar100" in of(found, "cifar100:").remedy
    assert of(doctor.diagnose(tmp_path / "not" / "yet" / "made"), "data folder").level == "ok"


def test_a_folder_that_cannot_be_written_to(monkeypatch, tmp_path):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    finding = of(doctor.diagnose(tmp_path), "data folder")
    assert finding.level == "problem" and "MNCLGLF_LITE_DATA" in finding.remedy
    assert doctor.report(tmp_path)[1] == 0


def test_folders_and_sizes_are_those_of_fetch():
    from mnclglf_lite.data import fetch

    for name, archive in fetch.ARCHIVES.items():
        folders, megabytes = doctor.IMAGE_SETS[name]
        assert archive.folder in folders
        assert abs(megabytes - (archive.size + archive.unpacked) / 1e6) < 10


def test_a_look_that_fails_does_not_hide_the_others(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_cpu_precision", lambda: 1 / 0)
    found = doctor.diagnose(tmp_path)
    assert "ZeroDivisionError" in of(found, "device: could not").what
    assert of(found, "toybox").level == "ok"
