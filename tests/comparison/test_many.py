"""A thousand runs: how often things are read, loaded and measured, not how long that takes."""

from collections import Counter
from pathlib import Path

import pytest

from segment.comparison import nets
from segment.comparison.find import find_runs
from segment.comparison.groups import Group
from segment.comparison.run import Run
from segment.comparison.sections import build_sections
from segment.comparison.tables import section_grids
from segment.models.costs.measured import MeasuredCost
from segment.records.folder import RunFolder
from tests.comparison.conftest import random_pixels, write_run


def made_up(number: int, different: int) -> list[Run]:
    """Return runs of some different nets."""
    net = "segment.models.SegmentationNet"
    metrics = {"mIoU": 0.5, "per_class_IoU": {"cat": 0.5}, "split": "val", "images": 40}
    return [
        Run(
            RunFolder(f"runs/{i}"),
            metrics,
            {"seed": 0, "optimizer.lr": i, "model._target_": net, "model.width": i % different},
            {},
            {},
            Path(f"runs/{i}/checkpoints/best.ckpt"),
        )
        for i in range(number)
    ]


@pytest.mark.parametrize(("different", "asked", "measured"), [(50, False, 50), (51, False, 0), (51, True, 51)])
def test_each_different_net_is_loaded_and_measured_once(monkeypatch, different, asked, measured):
    loaded: list[str] = []
    monkeypatch.setattr(nets.NetLoader, "load", lambda self, section, group: loaded.append(group.label) or nets_stub())
    monkeypatch.setattr(nets, "measure_costs", lambda ways, *_: ([MeasuredCost(1, 1.0, 1) for _ in ways], ""))
    found = build_sections(made_up(1000, different), paper=False)
    nets.add_costs_and_pictures(found, (64, 64), None, 4, max_nets=float("inf") if asked else nets.MAX_NETS)
    assert len(loaded) == measured
    assert len([group for group in found[0].groups if group.cost]) == (1000 if measured else 0)
    if not measured:
        assert "no costs: 51 different nets are more than 50; --cost measures all" in found[0].notes


def nets_stub() -> nets.LoadedNet:
    return nets.LoadedNet(None, {}, None)


def test_a_table_of_many_rows_looks_at_each_group_a_few_times(monkeypatch):
    looks = Counter[int]()
    folds = Group.folds.fget

    def counted(self):
        looks[id(self)] += 1
        return folds(self)

    [section] = build_sections(made_up(200, 200), paper=False)
    monkeypatch.setattr(Group, "folds", property(counted))
    section_grids(section)
    assert max(looks.values()) <= 3


def test_each_folder_is_read_once(tmp_path, monkeypatch):
    for i in range(12):
        write_run(tmp_path / str(i), {"optimizer.lr": i}, random_pixels(5, 0.5, i))
    opened: Counter[str] = Counter()
    original = Path.open

    def counted(self, *arguments, **options):
        opened[str(self)] += 1
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", counted)
    build_sections(find_runs([tmp_path])[0], paper=False)
    assert max(opened.values()) <= 2
