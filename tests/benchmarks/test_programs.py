"""The benchmarks as programs: what was asked wrongly costs one line and code 2, before any work."""

from __future__ import annotations

import runpy
import sys

import pytest

from benchmarks import timing
from mnclglf_lite.core.errors import InputError, TrainingError

WRONG = [  # module, flags, words that name what was wrong
    ("experiments.race", ["--knn", "2"], "targets are shares in (0, 1]"),
    ("experiments.race", ["--whole", "--no-test"], "give one of the two"),
    ("speed", ["--sample", "1", "--methods", "simclear"], "did you mean 'simclr'"),
    ("experiments.ablation", ["forms", "--data", "nowhere"], "nowhere"),
    ("speed.growth", ["--device", "nowhere"], "nowhere"),
    ("experiments.maps", ["nowhere"], "no run with its checkpoint lies in nowhere"),
]


def test_every_program_stands_in_the_table_of_the_readme():
    page = (timing.ROOT / "benchmarks" / "README.md").read_text()
    for path in (timing.ROOT / "benchmarks").rglob("*.py"):
        if 'if __name__ == "__main__":' in path.read_text():
            name = ".".join(path.relative_to(timing.ROOT).with_suffix("").parts).removesuffix(".__main__")
            assert f"| `python -m {name}" in page


@pytest.mark.parametrize(("name", "flags", "words"), WRONG, ids=[f"{name} {' '.join(flags)}" for name, flags, _ in WRONG])
def test_what_is_asked_wrongly_is_one_line(name, flags, words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    kept = sorted((timing.ROOT / "data").rglob("*"))
    monkeypatch.setattr("sys.argv", [name, *flags])
    for module in (f"benchmarks.{name}", f"benchmarks.{name}.__main__"):  # run anew, as a program
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert said.startswith(f"{name.split('.')[-1]}: ") and words in said and "\n" not in said, said
    assert not any(tmp_path.iterdir()) and kept == sorted((timing.ROOT / "data").rglob("*")), "it left something behind"


ENDS = [(None, 0), (0, 0), (130, 130), ({"rows": []}, 0)]
ENDS += [(InputError("x"), 2), (TrainingError("x"), 1), (KeyboardInterrupt(), 130)]


@pytest.mark.parametrize(("found", "code"), ENDS)
def test_the_code_that_a_program_ends_with(found, code, capsys):
    def main():
        if isinstance(found, BaseException):
            raise found
        return found

    with pytest.raises(SystemExit) as ended:
        timing.program(main, "name")
    assert ended.value.code == code
    words = "stopped" if isinstance(found, KeyboardInterrupt) else "x"
    assert capsys.readouterr().err == (f"name: {words}\n" if isinstance(found, BaseException) else "")
