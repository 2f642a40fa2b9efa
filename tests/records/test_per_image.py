"""The counts of each image come back as they were written, and damaged files are refused."""

import csv

import numpy as np
import pytest

from segment.errors import SegmentError
from segment.records import per_image
from segment.records.per_image import ImageCounts, read_image_counts, write_confusion, write_image_counts


@pytest.fixture
def counts():
    return ImageCounts(np.array(["c", "a", "b"]), np.arange(18).reshape(3, 3, 2), ("sky", "Straße"))


def test_counts_come_back(counts, tmp_path):
    write_image_counts(counts, tmp_path / "per_image.npz")
    found = read_image_counts(tmp_path / "per_image.npz")
    assert found.ids.tolist() == counts.ids.tolist()
    assert found.names == counts.names
    assert np.array_equal(found.pixels, counts.pixels)
    with np.load(tmp_path / "per_image.npz") as content:
        assert np.array_equal(content["predicted"], counts.pixels[:, 2])


def test_groups_come_back(counts, tmp_path):
    path = tmp_path / "per_image.npz"
    write_image_counts(counts._replace(groups=np.array(["v", "w", "v"])), path)
    found = read_image_counts(path)
    assert found.groups.tolist() == ["v", "w", "v"]
    assert found.select_groups(np.array(["a", "c"])).tolist() == ["w", "v"]
    assert counts.select_groups(counts.ids) is None
    write_image_counts(counts._replace(groups=np.array(["v", "w"])), path)
    with pytest.raises(SegmentError, match=r"^per_image.npz is damaged: expected the group of each image$"):
        read_image_counts(path)


def test_images_are_selected_by_name(counts):
    assert np.array_equal(counts.select(np.array(["b", "c"])), counts.pixels[[2, 0]])


def test_a_damaged_file_is_refused(counts, tmp_path):
    path = tmp_path / "per_image.npz"
    write_image_counts(counts, path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(SegmentError, match=r"^per_image.npz is damaged$"):
            read_image_counts(path)
    np.savez(path, ids=counts.ids)
    with pytest.raises(SegmentError, match=r"^per_image.npz is damaged$"):
        read_image_counts(path)
    write_image_counts(counts._replace(ids=counts.ids[:2]), path)
    with pytest.raises(SegmentError, match=r"^per_image.npz has 2 names of images and 2 of classes for \(3, 3, 2\)$"):
        read_image_counts(path)


def test_a_flipped_bit_is_refused(counts, tmp_path):
    """zlib raises an error of its own."""
    path = tmp_path / "per_image.npz"
    write_image_counts(counts, path)
    whole = path.read_bytes()
    for position in range(30, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        try:
            read_image_counts(path)
        except SegmentError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "changed",
    [
        {"ids": np.arange(3)},
        {"names": np.array(3)},
        {"names": np.array([1, 2])},
        {"pixels": np.full((3, 3, 2), 0.5)},
        {"pixels": np.full((3, 3, 2), -1)},
        {"pixels": np.full((3, 3, 2), 2**62)},
        {"pixels": np.full((3, 3, 2), [[2], [1], [1]])},
        {"pixels": np.full((3, 3, 2), "x")},
    ],
)
def test_arrays_of_wrong_types_are_refused(counts, tmp_path, changed):
    write_image_counts(counts._replace(**changed), tmp_path / "per_image.npz")
    with pytest.raises(SegmentError, match=r"^per_image.npz (is damaged|has )"):
        read_image_counts(tmp_path / "per_image.npz")


def test_an_archive_of_gigabytes_is_not_unpacked(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(per_image, "MAX_UNPACKED", 100)
    write_image_counts(counts, tmp_path / "per_image.npz")
    with pytest.raises(SegmentError, match=r"^per_image.npz holds more than"):
        read_image_counts(tmp_path / "per_image.npz")


def test_the_confusion_matrix_has_a_row_for_each_true_class(tmp_path):
    write_confusion(np.array([[3, 1], [0, 4]]), ("sky", "Straße"), tmp_path / "confusion.csv")
    with (tmp_path / "confusion.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["true \\ predicted", "sky", "Straße"],
            ["sky", "3", "1"],
            ["Straße", "0", "4"],
        ]
