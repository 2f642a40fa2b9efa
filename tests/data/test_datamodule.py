"""Data modules: arguments, loaders, masks that are required, fingerprints."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.utilities import rank_zero_only

from segment.data.classes import Classes, voc_palette
from segment.data.datamodule import SegmentationDataModule, count_shared
from segment.data.dataset import SegmentationDataset
from segment.data.datasets.folder import FolderDataModule
from segment.data.datasets.shapes import ShapesDataModule
from segment.data.datasets.voc import VOCDataModule
from segment.data.doctor import examine
from segment.data.pairs import Sample
from segment.errors import SegmentError
from tests.conftest import write_pair


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"short_side": 0},
        {"short_side": -5},
        {"elastic": float("inf")},
        {"rotation": float("nan")},
        {"crop_size": 5},
        {"crop_size": (32.5, 32)},
        {"scale": 5},
        {"scale": (1, float("inf"))},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense(options):
    with pytest.raises(SegmentError, match=r"^data: expected .* but got .*$"):
        ShapesDataModule(**options)


def test_a_users_own_data_set_states_classes_and_samples(tmp_path):
    class Own(SegmentationDataModule):
        classes = Classes(("a", "b"), voc_palette(2))

        def samples(self, split: str) -> list[Sample]:
            if split == "test":
                return super().samples(split)
            return [Sample("0", self.root / "0.png", self.root / "m.png")]

    write_pair(tmp_path / "0.png", tmp_path / "m.png", torch.ones(20, 30).numpy(), 0)
    data = Own(str(tmp_path), crop_size=(8, 8), batch_size=1, num_workers=0)
    data.setup("fit")
    assert data.name == "Own"
    assert next(iter(data.train_dataloader()))["mask"].unique().tolist() == [1]
    with pytest.raises(SegmentError, match="Own has no split 'test'"):
        data.dataset("test")
    with pytest.raises(SegmentError, match=r"data.download=true: Own has nothing to download"):
        Own(str(tmp_path), download=True).prepare_data()


def test_equal_batches_for_any_number_of_workers(voc_root):
    def batches(workers: int) -> list:
        options = {"rotation": 20.0, "elastic": 5.0, "colour": 0.5, "cat_max_ratio": 0.75}
        torch.manual_seed(workers)
        data = VOCDataModule(str(voc_root), batch_size=2, num_workers=workers, crop_size=(40, 48), **options)
        data.setup("fit")
        return list(data.train_dataloader())

    reference = batches(0)
    assert len(reference) == 2
    for workers in (1, 4):
        for a, b in zip(reference, batches(workers), strict=True):
            assert a["id"] == b["id"]
            assert torch.equal(a["image"], b["image"])
            assert torch.equal(a["mask"], b["mask"])
            assert b["mask"].dtype == torch.uint8


def voc_file(root: Path, folder: str, name: str) -> Path:
    return root / "VOCdevkit" / "VOC2012" / folder / name


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_jpeg_is_named_by_the_process_and_by_a_worker(voc_root, workers):
    path = voc_file(voc_root, "JPEGImages", "2007_00v1.jpg")
    path.write_bytes(path.read_bytes()[:-400])
    module = VOCDataModule(str(voc_root), num_workers=workers)
    with pytest.raises(SegmentError) as error:
        list(module.eval_dataloader("val"))
    assert str(error.value).startswith(f"cannot read the image {path}")
    assert "Traceback" not in str(error.value)
    assert "\n" not in str(error.value)


def test_training_and_validation_require_masks(voc_root):
    path = voc_file(voc_root, "ImageSets", "Segmentation/test.txt")
    path.write_text("2007_00v0\n")
    voc_file(voc_root, "SegmentationClass", "2007_00v0.png").unlink()
    path.with_name("val.txt").write_text("2007_00v1\n")
    for splits in ({"train_split": "test"}, {"val_split": "test"}):
        data = VOCDataModule(str(voc_root), **splits)
        with pytest.raises(SegmentError, match=r"images of the split 'test' have no masks at data.root=.*Segmentation"):
            data.setup("fit")
        assert [p.kind for p in examine(data, ["train", "val", "test"]).problems] == ["no masks"]


def test_only_rank_zero_reads_images_for_fingerprints(voc_root, monkeypatch, capsys):
    (voc_root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("2007_00t0\n")
    read = []
    original = SegmentationDataset.image_fingerprints.func
    monkeypatch.setattr(
        SegmentationDataset, "image_fingerprints", property(lambda self: read.append(1) or original(self))
    )
    for rank, number in ((1, 0), (0, 2 * 5)):
        monkeypatch.setattr(rank_zero_only, "rank", rank)
        data = VOCDataModule(str(voc_root))
        data.setup("fit")
        assert len(data.training_fingerprints()) == number
        assert bool(read) == (rank == 0)
        note = "note: 1 of 1 images of val are also in train, so scores on val are optimistic\n"
        assert capsys.readouterr().out == (note if rank == 0 else "")


def test_images_are_shared_if_one_fingerprint_is():
    assert count_shared([("a", "b"), ("c",), ("d", "e")], ["b", "d", "f"]) == 2


def test_too_little_shared_memory_is_said_before_training(monkeypatch, tmp_path):
    """A container's default of 64 MB, where a training with workers would wait for ever."""
    monkeypatch.setattr("segment.data.workers.SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("segment.data.workers.os.statvfs", lambda path: SimpleNamespace(f_bavail=64, f_frsize=10**6))
    options = {"train_size": 4, "val_size": 2, "crop_size": (1000, 1000), "batch_size": 8}
    with pytest.raises(SegmentError, match=r"has 64 MB free, the loader's workers need 128 MB: .*--shm-size"):
        ShapesDataModule(num_workers=2, **options).setup("fit")
    ShapesDataModule(num_workers=0, **options).setup("fit")
    ShapesDataModule(num_workers=1, **options).setup("fit")


def test_whole_images_count_in_shared_memory(monkeypatch, tmp_path, folder_root):
    """Images of 24 x 20 pixels: an evaluation reads them whole."""
    monkeypatch.setattr("segment.data.workers.os.statvfs", lambda path: SimpleNamespace(f_bavail=7, f_frsize=1000))
    data = FolderDataModule(str(folder_root), ["a", "b", "c"], num_workers=2, crop_size=(8, 8), batch_size=1)
    with pytest.raises(SegmentError, match=r"has 0.007 MB free, the loader's workers need 0.0087 MB"):
        data.setup("fit")  # 2 workers x 2 batches x (8 x 8 + 24 x 20) pixels x 4 bytes
    with pytest.raises(SegmentError, match=r"need 0.00768 MB: .* an evaluation reads whole images$"):
        FolderDataModule(str(folder_root), ["a", "b", "c"], num_workers=2).eval_dataloader("val")
    with monkeypatch.context() as patch:
        patch.setattr("segment.data.workers.os.statvfs", lambda path: (_ for _ in ()).throw(OSError(38, "no")))
        FolderDataModule(str(folder_root), ["a", "b", "c"], num_workers=2).eval_dataloader("val")
