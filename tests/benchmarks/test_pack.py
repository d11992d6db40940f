"""Packing a comparison: what is read of its runs stays the same, or nothing is touched."""

import json

import pytest
from conftest import tiny
from shelves import comparison, put, result

from benchmarks import pack
from mnclglf_lite.core.errors import InputError
from mnclglf_lite.results import compare
from mnclglf_lite.results.records import load_records


@pytest.fixture
def folder(tmp_path):
    """Three runs, one of which was evaluated again after the comparison."""
    comparison(tmp_path, {"simclr": [0.5, 0.6], "moco": [0.4]})
    put(tmp_path / "moco-seed0", "moco", 0, 0.7)
    (tmp_path / "simclr-seed1" / "checkpoint.pt").write_text("weights")
    (tmp_path / "compare.md").write_text("the table")
    return tmp_path


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_packed_comparison_reads_the_same(folder):
    before = [vars(record) for record in load_records(folder)]
    pack.main([str(folder)])
    assert [vars(record) for record in load_records(folder)] == before and len(before) == 3
    assert files(folder) == ["compare.json", "runs.jsonl", "simclr-seed1/checkpoint.pt"]
    lines = {line["name"]: line for line in map(json.loads, (folder / "runs.jsonl").open())}
    assert [name for name, line in lines.items() if "result" in line] == ["moco-seed0"]
    with pytest.raises(InputError, match="holds records"):  # a comparison there would write compare.json anew
        compare.check_same(folder, {"simclr": tiny("simclr", steps=30)}, [0], {"minutes": None, "image_views": 960})


def test_undone_it_is_what_it_was(folder):
    pack.main([str(folder)])
    packed, before = (folder / "runs.jsonl").read_bytes(), [vars(record) for record in load_records(folder)]
    pack.main([str(folder), "--undo"])
    assert [vars(record) for record in load_records(folder)] == before
    names = {f"{run}/{name}" for run in ("simclr-seed0", "simclr-seed1", "moco-seed0") for name in pack.FILES}
    assert set(files(folder)) == names | {"compare.json", "budget.json", "simclr-seed1/checkpoint.pt"}
    pack.main([str(folder)])
    assert (folder / "runs.jsonl").read_bytes() == packed
    pack.unpack(folder)
    with pytest.raises(InputError, match="no packed runs"):
        pack.unpack(folder)


def test_what_is_made_anew_takes_the_place_of_its_line(folder):
    pack.pack(folder)
    put(folder / "simclr-seed0", "simclr", 0, 0.9)
    pack.pack(folder)
    values = {r.folder.name: r.result["knn20"]["raw"]["top1"] for r in load_records(folder)}
    assert values == {"simclr-seed0": 0.9, "simclr-seed1": 0.6, "moco-seed0": 0.7}


def test_where_something_would_be_lost_nothing_is_touched(folder, monkeypatch):
    there, line_of = files(folder), pack.line_of
    with monkeypatch.context() as patch, pytest.raises(InputError, match="would not read the same"):
        patch.setattr(pack, "line_of", lambda *given: line_of(*given) | {"result": result(0.123)})
        pack.pack(folder)
    assert files(folder) == there
    for name in ("result.json", "history.jsonl"):  # not finished
        (folder / "moco-seed0" / name).rename(folder / "aside")
        with pytest.raises(InputError, match=f"moco-seed0 has no {name}"):
            pack.pack(folder)
        (folder / "aside").rename(folder / "moco-seed0" / name)
    assert files(folder) == there


def test_a_folder_without_a_comparison_is_said(tmp_path):
    put(tmp_path / "simclr-seed0")
    with pytest.raises(InputError, match="no comparison with runs"):
        pack.pack(tmp_path)
