"""Photos: refused before they are decoded, and segmented with the mean confidence of each class."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import segment
from segment.errors import SegmentError
from segment.page import check_photo, photos, segment_photo
from segment.prediction.inference import Inference


def test_a_photo_passes(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    check_photo(tmp_path / "a.png", "a.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a\n.txt",
            b"no photo",
            r"^the file a\\n.txt cannot be read, it is no image, .*: choose a JPEG, PNG or WebP photo.$",
        ),
        ("a.jpg", b"", "^the file a.jpg cannot be read, "),
        ("a.png", b"\x89PNG\r\n\x1a\n", "^the file a.png cannot be read, "),
    ],
)
def test_no_photo(tmp_path, name, content, message):
    (tmp_path / "upload").write_bytes(content)
    with pytest.raises(SegmentError, match=message):
        check_photo(tmp_path / "upload", name)


@pytest.mark.parametrize(("width", "shown"), [(20_000, "200"), (10_000, "100"), (2600, "26")])
def test_too_many_pixels_are_found_in_the_header(tmp_path, monkeypatch, width, shown):
    Image.new("1", (width, 10_000)).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(
        SegmentError, match=f"^the file my.png has {shown} million pixels, and this page takes up to 25 million"
    ):
        check_photo(tmp_path / "a.png", "my.png")


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    monkeypatch.setattr(photos, "LARGEST_FILE", 50)
    with pytest.raises(SegmentError, match=r"^the file a.png is larger than 0 MB: make it smaller first.$"):
        check_photo(tmp_path / "a.png", "a.png")


def test_classes_and_confidence(tmp_path, checkpoint):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    segmenter = segment.load(checkpoint)
    found = segment_photo(segmenter, tmp_path / "a.png", "photo.of.me.png")
    expected = segmenter.predict(tmp_path / "a.png", probabilities=True)
    assert found.name == "photo.of.me"
    assert (found.found.mask == expected.mask).all()
    counts = [*expected.counts().values()]
    assert [counts[label] for label in found.labels] == sorted(filter(None, counts), reverse=True)
    for label, count in enumerate(counts):
        chosen = expected.probabilities[label][expected.mask == label] / 255
        assert found.share(label) == count / expected.mask.size
        assert found.confidence[label] == pytest.approx(chosen.mean() if count else np.nan, abs=1 / 500, nan_ok=True)


def test_without_memory_for_probabilities_there_is_no_confidence(tmp_path, checkpoint, monkeypatch):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")

    def run(self, net, image, keep=None):
        if keep is not None:
            raise SegmentError("too little memory")
        return torch.zeros(20, 30, dtype=torch.int64), None

    monkeypatch.setattr(Inference, "run", run)
    found = segment_photo(segment.load(checkpoint), tmp_path / "a.png", "a.png")
    assert found.labels == [0]
    assert np.isnan(found.confidence).all()


def test_a_photo_that_is_cut_off(tmp_path, checkpoint):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)).save(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes((tmp_path / "x.png").read_bytes()[:3000])
    with pytest.raises(SegmentError, match=r"^cannot read the image my.png: the file is cut off$"):
        segment_photo(segment.load(checkpoint), tmp_path / "x.png", "my.png")
