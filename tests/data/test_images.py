"""Image files: reading, damage, fingerprints."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from segment.data.headers import turn
from segment.data.images import Reading, check_header, image_fingerprint, read_failure, read_image, to_rgb
from segment.data.labels import Labels
from segment.data.png import PNG, PngHeader
from segment.errors import SegmentError
from tests.conftest import without_rows
from tests.data.tiffs import png


def test_images_of_many_kinds(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 256 + 7).save(tmp_path / "deep.png")
    for name in ("grey.png", "deep.png"):
        assert np.array_equal(read_image(tmp_path / name).numpy(), np.stack([grey] * 3))
    Image.fromarray(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8), mode="CMYK").save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg").shape == (3, 8, 8)


@pytest.mark.parametrize("start", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0"])
def test_a_huge_file_is_not_read(tmp_path, start):
    path = tmp_path / "a.jpg"
    path.write_bytes(start)
    os.truncate(path, 10**10)
    for read in (read_image, check_header):
        with pytest.raises(SegmentError, match=r"it has 10,000,000,000 bytes, and .* are allowed"):
            read(path)


def test_an_open_tiff_is_never_blended(tmp_path):
    bands = np.random.default_rng(0).integers(0, 256, (4, 5, 4), np.uint8)
    for suffix, blended in ((".tif", False), (".png", True)):
        Image.fromarray(bands).save(tmp_path / f"a{suffix}")
        found = np.array(to_rgb(Image.open(tmp_path / f"a{suffix}")))
        assert np.array_equal(found, bands[..., :3]) != blended


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PNG"])
def test_other_formats_under_the_name_of_a_jpeg(tmp_path, kind):
    values = np.kron(np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    if kind == "PNG":  # of 16 bits, which torchvision would not reduce to 8
        Image.fromarray(values[..., 0].astype(np.uint16) * 256).save(tmp_path / "image.jpg", format=kind)
        values = values[..., [0, 0, 0]]
    else:
        Image.fromarray(values).save(tmp_path / "image.jpg", format=kind, lossless=True)
    assert np.array_equal(read_image(tmp_path / "image.jpg").permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_of_16_bits_keep_the_bits_that_are_chosen(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 2**12, (5, 7, channels)).astype(np.uint16)
    if channels in {2, 4}:
        values[..., -1] = 2**16 - 1  # opaque
    colours = values if channels in {1, 3} else values[..., :-1]
    (tmp_path / "a.png").write_bytes(png(values, 16))
    for bits, expected in ((12, colours >> 4), (None, colours >> 8)):
        found = read_image(tmp_path / "a.png", Reading(bits=bits)).permute(1, 2, 0).numpy()
        assert np.array_equal(found, np.broadcast_to(expected, (5, 7, 3)))
    if channels in {2, 4}:
        values[..., -1] = 0
        (tmp_path / "a.png").write_bytes(png(values, 16))
        assert (read_image(tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_are_those_of_pil(orientation):
    image, exif = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)), Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    image.save(content, "PNG", exif=exif)
    assert np.array_equal(turn(np.array(image), orientation), ImageOps.exif_transpose(Image.open(content)))


def test_exif_orientation_is_applied(tmp_path):
    image, exif = Image.new("RGB", (40, 20), "red"), Image.Exif()
    image.paste("blue", (0, 0, 8, 20))
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    for name in ("photo.jpg", "photo.png"):
        image.save(tmp_path / name, exif=exif)
        upright = read_image(tmp_path / name)
        assert upright.shape == (3, 40, 20)
        assert upright[2, :6].float().mean() > 200
        assert upright[0, 10:].float().mean() > 200


def test_damaged_images_are_refused_in_one_line(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for name, damage in (
        ("cut.jpg", lambda content: content[: len(content) // 2]),
        ("cut.png", lambda content: content[: len(content) // 2]),
        ("bit.png", lambda content: content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]),
    ):
        picture.save(tmp_path / name)
        (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
        with pytest.raises(SegmentError, match=rf"^cannot read the image .*{name}: [^\n]*$") as error:
            read_image(tmp_path / name)
        assert ".cpp" not in str(error.value)


def test_a_palette_image_without_a_palette_is_damaged(tmp_path):
    """PIL has an AssertionError without a message."""
    Image.new("P", (4, 4)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    at = content.index(b"PLTE") - 4
    length = 12 + int.from_bytes(content[at : at + 4], "big")
    (tmp_path / "a.png").write_bytes(content[:at] + content[at + length :])
    with pytest.raises(SegmentError, match=r"^cannot read the image .*a.png: it is damaged$"):
        read_image(tmp_path / "a.png")


def test_too_little_memory_is_said_so():
    assert read_failure(MemoryError()) == "it needs more memory than there is"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pngs_without_all_their_rows_are_refused(tmp_path, mode):
    values = np.random.default_rng(0).integers(0, 256, (13, 11), dtype=np.uint8)
    image = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values)
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (3, 13, 11)
    (tmp_path / "a.png").write_bytes(without_rows((tmp_path / "a.png").read_bytes()))
    with pytest.raises(SegmentError, match=r"^cannot read the image .*a.png: it is damaged: \d+ bytes of its pixels"):
        read_image(tmp_path / "a.png")
    labels = Labels({(1, 2, 3): 0} if mode == "RGB" else {0: 0})
    with pytest.raises(SegmentError, match=r"^cannot read the mask .*a.png: it is damaged: \d+ bytes of its pixels"):
        labels.read_values(tmp_path / "a.png")  # torchvision would end the process here


def test_rows_of_an_interlaced_png():
    """The rows of the seven passes of Adam7 by the table of the PNG specification (section 8.2)."""
    for width, height in ((8, 8), (1, 1), (5, 3), (2, 9), (13, 11)):
        table = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"]
        passes = np.array([[int(table[y % 8][x % 8]) for x in range(width)] for y in range(height)])
        length = 0
        for number in range(1, 8):
            rows = (passes == number).sum(1)
            length += sum(1 + 3 * count for count in rows if count)
        head = b"".join(n.to_bytes(4, "big") for n in (width, height)) + bytes([8, 2, 0, 0, 1])
        assert PngHeader.from_bytes(PNG + bytes(8) + head).row_bytes() == length


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
    counting = -bytes_read() + bytes_read()  # reading the counter is counted, too
    before = bytes_read()
    image_fingerprint(large_jpeg)
    assert bytes_read() - before - counting <= 4 * 4096


@pytest.mark.parametrize("end", [1, 100, 4096])
def test_files_that_differ_near_their_end_have_different_fingerprints(large_jpeg, tmp_path, end):
    content = bytearray(large_jpeg.read_bytes())
    content[-end] ^= 1
    (tmp_path / "other.jpg").write_bytes(content)
    assert image_fingerprint(tmp_path / "other.jpg") != image_fingerprint(large_jpeg)


def test_a_fingerprint_depends_on_the_content_alone(large_jpeg, tmp_path):
    (tmp_path / "copy.bmp").write_bytes(large_jpeg.read_bytes())
    assert image_fingerprint(tmp_path / "copy.bmp") == image_fingerprint(large_jpeg)
    (tmp_path / "longer.jpg").write_bytes(large_jpeg.read_bytes()[:-1])
    assert image_fingerprint(tmp_path / "longer.jpg") != image_fingerprint(large_jpeg)


@pytest.mark.parametrize("suffix", ["bmp", "tiff", "npy", "jpg"])
def test_uncompressed_files_are_hashed_whole(tmp_path, suffix):
    """Also if their suffix is that of a JPEG."""
    found = set()
    for spot in (None, 5000, 100_000, 299_999):
        content = bytearray(300_000)
        if spot:
            content[spot] = 1
        (tmp_path / f"a.{suffix}").write_bytes(b"BM" + content)
        found.add(image_fingerprint(tmp_path / f"a.{suffix}"))
    assert len(found) == 4


def test_large_images_that_differ_in_one_spot(tmp_path):
    """An uncompressed file differs there, a compressed one at least at its end."""
    found = set()
    for i in range(8):
        pixels = np.zeros((3000, 3000), np.uint8)
        pixels[370 * i : 370 * i + 9, 40:60] = 255
        Image.fromarray(pixels).save(tmp_path / f"{i}.bmp")
        found.add(image_fingerprint(tmp_path / f"{i}.bmp"))
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    for i in range(2):
        noise[400, 400] = i
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 2**20
        found.add(image_fingerprint(tmp_path / f"{i}.png"))
    assert len(found) == 10


def test_postscript_is_not_read_whatever_its_name(tmp_path):
    """PIL's reader of PostScript starts Ghostscript."""
    (tmp_path / "a.tif").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(SegmentError, match=r"cannot read the image .*a.tif: it is no image, or of an unknown kind"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(SegmentError, match=r"cannot read the mask .*a.tif: it is no image, or of an unknown kind"):
        Labels({0: 0, 1: 1}).read_values(tmp_path / "a.tif")
