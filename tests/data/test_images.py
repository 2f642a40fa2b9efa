"""Image files: reading, damage, fingerprints."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segment.data.images import image_fingerprint


def bytes_read() -> int:
    """Number of bytes that this process has read so far, as Linux counts them."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


@pytest.fixture
def large_jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "large.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)).save(path)
    assert path.stat().st_size > 1_000_000
    return path


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
def test_a_fingerprint_of_a_large_jpeg_reads_16_kib(large_jpeg):
    counting = -bytes_read() + bytes_read()  # reading the count counts, too
    before = bytes_read()
    image_fingerprint(large_jpeg)
    assert bytes_read() - before - counting <= 4 * 4096


@pytest.mark.parametrize("end", [1, 100, 4096])
def test_files_that_differ_near_their_end_have_different_fingerprints(large_jpeg, tmp_path, end):
    content = bytearray(large_jpeg.read_bytes())
    content[-end] ^= 1
    (tmp_path / "other.jpg").write_bytes(content)
    assert image_fingerprint(tmp_path / "other.jpg") != image_fingerprint(large_jpeg)


def test_a_fingerprint_is_of_the_content_whatever_the_name(large_jpeg, tmp_path):
    (tmp_path / "copy.bmp").write_bytes(large_jpeg.read_bytes())
    assert image_fingerprint(tmp_path / "copy.bmp") == image_fingerprint(large_jpeg)
    (tmp_path / "longer.jpg").write_bytes(large_jpeg.read_bytes()[:-1])
    assert image_fingerprint(tmp_path / "longer.jpg") != image_fingerprint(large_jpeg)


@pytest.mark.parametrize("suffix", ["bmp", "tiff", "npy", "jpg"])
def test_uncompressed_files_are_hashed_whole(tmp_path, suffix):
    """Also those that their suffix calls a JPEG."""
    found = set()
    for spot in (None, 5000, 100_000, 299_999):
        content = bytearray(300_000)
        if spot:
            content[spot] = 1
        (tmp_path / f"a.{suffix}").write_bytes(b"BM" + content)
        found.add(image_fingerprint(tmp_path / f"a.{suffix}"))
    assert len(found) == 4
