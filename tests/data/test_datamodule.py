"""Data modules: fingerprints on rank 0 alone."""

from lightning.fabric.utilities import rank_zero_only

from segment.data.dataset import SegmentationDataset
from segment.data.datasets.voc import VOCDataModule
from segment.evaluation.evaluator import trained_on


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
        note = "note: 1 of 1 images of val are also in train, so these scores are optimistic\n"
        assert capsys.readouterr().out == (note if rank == 0 else "")


def test_metadata_without_fingerprints_says_nothing_of_shared_images():
    assert trained_on({"images": []}, [("a",)]) is None
    assert trained_on({"images": ["a"]}, [("a", "b"), ("c",)]) == 1
