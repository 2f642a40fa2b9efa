"""The command that segments photos: any image, any file name, any number of times."""

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import segment
from segment.data.datasets.shapes import SHAPES
from segment.data.images import read_image, to_rgb
from segment.errors import SegmentError
from segment.prediction.output_files import JOURNALS
from tests.prediction.conftest import photo


def files(folder):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != JOURNALS["predict"]
    }


LIGHT = """
import runpy
import sys

runpy.run_module("segment.predict", run_name="__main__")
print({"lightning", "torchmetrics", "scipy", "matplotlib"} & {*sys.modules})
"""


def test_a_photo_needs_neither_lightning_nor_what_it_imports(checkpoint, tmp_path):
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    paths = [f"checkpoint={checkpoint}", f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}"]
    done = subprocess.run([sys.executable, "-c", LIGHT, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert files(tmp_path / "out") == {"a.png", "a_overlay.jpg", "a.json"}


def test_a_folder(main, checkpoint, tmp_path):
    photos, names = tmp_path / "my photos", ["a (1).jpg", "b,c.png", "IMG_[1]=x.jpg", "ä.webp", "same.jpg", "same.png"]
    photos.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(photo(i)).save(photos / name)
    (photos / "notes.txt").write_text("no image")
    odd = tmp_path / "epoch=1, best.ckpt"
    shutil.copy(checkpoint, odd)
    out = tmp_path / "out (1)"
    main("predict", f"checkpoint={odd}", f"input={photos}", f"output={out}")
    stems = {"a (1)", "b,c", "IMG_[1]=x", "ä", "same.jpg", "same.png"}
    assert files(out) == {f"{stem}{suffix}" for stem in stems for suffix in (".png", "_overlay.jpg", ".json")}
    net = segment.load(checkpoint, "cpu").net
    for name, stem in (("a (1).jpg", "a (1)"), ("same.png", "same.png")):
        mask, image = Image.open(out / f"{stem}.png"), Image.open(photos / name)
        assert mask.mode == "P"
        assert mask.size == image.size
        assert Image.open(out / f"{stem}_overlay.jpg").height > image.height  # a legend
        assert mask.getpalette()[: 3 * len(SHAPES)] == [v for colour in SHAPES.palette for v in colour]
        found = np.array(mask)
        if name.endswith(".png"):
            expected = net.predict(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])[0]
            assert np.array_equal(found, expected.numpy())
            assert len(np.unique(found)) > 2
        pixels = json.loads((out / f"{stem}.json").read_text())["pixels"]
        assert pixels == {name: int((found == i).sum()) for i, name in enumerate(SHAPES.names)}


@pytest.mark.slow
def test_a_pattern_continues_where_it_stopped(main, checkpoint, content, tmp_path, capfd):
    for place in ("2023/a", "2024/a", "2024/b"):
        path = tmp_path / "photos" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(0)[:40, :50]).save(path)
    (tmp_path / "photos" / "2023" / "up").symlink_to(tmp_path / "photos")  # ** would go round in circles, 2^40 of them
    (tmp_path / "photos" / "2023" / "self").symlink_to(".")
    (tmp_path / "photos" / "2023" / "next").symlink_to("../2024")
    (tmp_path / "photos" / "2024" / "back").symlink_to("../2023")
    out = tmp_path / "photos" / "out"  # masks are not taken for images by the next run
    overrides = [f"checkpoint={checkpoint}", f"input={tmp_path}/photos/**/*.png", f"output={out}", "probabilities=true"]

    def made():
        """Return the masks that another run writes."""
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
        main("predict", *overrides)
        return {str(p.relative_to(out)) for p in out.rglob("*.png") if before.get(p) != p.stat().st_mtime_ns}

    linked = {"2023/next/a.png", "2023/next/b.png", "2024/back/a.png"}
    everything = {"2023/a.png", "2024/a.png", "2024/b.png", *linked}
    assert made() == everything
    assert "6 images segmented" in capfd.readouterr().out
    assert made() == set()
    assert "0 images segmented, 6 had their masks already" in capfd.readouterr().out
    for link in ("next", "self", "up", "../2024/back"):
        (tmp_path / "photos" / "2023" / link).unlink()
    everything -= linked
    (out / "2024/a_overlay.jpg").unlink()
    (out / "2024/b.png").write_bytes((out / "2024/b.png").read_bytes()[:-40])
    assert made() == {"2024/a.png", "2024/b.png"}
    overrides.append("inference.flip=true")
    assert made() == everything
    torch.save({**content, "epoch": 2}, checkpoint)
    assert made() == everything
    Image.fromarray(photo(1)[:40, :50]).save(tmp_path / "photos/2023/a.png")
    assert made() == {"2023/a.png"}
    assert not [name for name in files(out) if name.endswith(".part")]
    kept = np.load(out / "2023/a.npz")
    assert kept["classes"].tolist() == list(SHAPES.names)
    assert kept["probabilities"].shape == (len(SHAPES), 40, 50)
    assert np.abs(kept["probabilities"].astype(int).sum(0) - 255).max() <= 3
    mask = np.array(Image.open(out / "2023/a.png"))[None]
    assert np.array_equal(np.take_along_axis(kept["probabilities"], mask, 0)[0], kept["probabilities"].max(0))


def strange(folder):
    """Write files that break programs; return the names of those that hold no whole image."""
    image = Image.fromarray(photo(0)[:30, :40])
    for suffix in ("jpg", "png", "webp", "tif", "bmp"):
        image.save(folder / f"good.{suffix}")
        whole = (folder / f"good.{suffix}").read_bytes()
        (folder / f"half_{suffix}.{suffix}").write_bytes(whole[: len(whole) // 2])
        (folder / f"zero_{suffix}.{suffix}").write_bytes(b"")
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (folder / "huge_png.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    jpeg = bytearray((folder / "good.jpg").read_bytes())
    (folder / "png in name.png").write_bytes(jpeg)
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = struct.pack(">HH", 65_500, 65_500)
    (folder / "huge_jpg.jpg").write_bytes(jpeg)
    (folder / "text_1.jpg").write_text("hello")
    (folder / "text_2.tiff").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / f"zero_{'n' * 240}.jpg").write_bytes(b"")
    for i, shape in enumerate([(1, 1), (1, 90), (90, 1)]):
        image.resize(shape).save(folder / f"small_{i}.png")
    frames = [Image.fromarray(photo(i)[:50, :50]) for i in range(3)]
    for suffix, form in (("webp", "WEBP"), ("png", "GIF"), ("tif", "TIFF")):
        frames[0].save(folder / f"animated_{suffix}.{suffix}", form, save_all=True, append_images=frames[1:])
    (folder / "folder.jpg").mkdir()
    (folder / "broken link.jpg").symlink_to("nowhere")
    (folder / "broken circle.jpg").symlink_to("broken circle.jpg")
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    (folder / "zero\n\x1b[31m.jpg").write_bytes(b"")
    os.mkfifo(folder / "pipe.jpg")
    for name in ("a b", "a,b", "[a]", "a=b", "${x}", "'q'", "-dash", "[bold]x", "new\nline", os.fsdecode(b"latin\xe9")):
        shutil.copy(folder / "good.jpg", folder / f"{name}.jpg")
    return {p.name for p in folder.iterdir() if p.name.startswith(("half", "zero", "huge", "text", "broken", "pipe"))}


def test_strange_files_stop_nothing(main, checkpoint, tmp_path, capfd):
    photos = tmp_path / "photos"
    photos.mkdir()
    bad = strange(photos)
    good = {p.name for p in photos.iterdir() if p.is_file()} - bad
    assert len(good) + len(bad) >= 40
    with pytest.raises(SystemExit, match=rf"error: {len(bad)} of {len(good) + len(bad)} images could not be segmented"):
        main("predict", f"checkpoint={checkpoint}", f"input={photos}", f"output={tmp_path}/out", "overlay=false")
    assert len(list((tmp_path / "out").glob("*.png"))) == len(good)
    printed = capfd.readouterr().err
    assert "Traceback" not in printed
    with pytest.raises(SystemExit):  # every name is recognised
        main("predict", f"checkpoint={checkpoint}", f"input={photos}", f"output={tmp_path}/out", "overlay=false")
    assert f"0 images segmented, {len(good)} had their masks already" in capfd.readouterr().out
    skipped = [line for line in printed.splitlines() if "skipped: cannot read the image" in line]
    assert len(skipped) == len(bad)
    assert all(any(repr(name)[1:-1] in line for line in skipped) for name in bad)
    assert np.array(Image.open(tmp_path / "out" / "small_1.png")).shape == (90, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["input=nowhere", "output=o"], "input=nowhere: no such file or folder"),
        (["input=empty", "output=o"], "input=empty: no image or video in this folder"),
        (["input=*.gif", "output=o"], r"input=\*.gif: no image or video matches"),
        (["input=photos", "output=photos"], "output=photos is the folder of the images"),
        (["input=photos/a.png", "output=photos"], r"photos/a.png would overwrite an input; choose another folder"),
        (["input=a.jpg", "output=photos"], "photos/a.png exists, and segment.predict did not write it"),
        (["input=photos/b.jpg", "output=photos"], "photos/b.json exists, and segment.predict did not write it"),
        (["input=", "output=o"], "input is empty: give input=PATH"),
        (["input=photos", "output="], "output is empty"),
        (["input=null", "output=o"], "input is empty"),
        (["input=photos", "output=null"], "output is empty"),
        (["input=photos", "output=o", "checkpoint=null"], "checkpoint is empty"),
        (["input=~no-such-user/x", "output=o"], "input=~no-such-user/x: no such file or folder"),
        (["input=photos", "output=o", "checkpoint=~no-such-user/x"], "the file ~no-such-user/x does not exist"),
        (["input=photos", "output=o", "overlay=maybe"], "overlay=maybe: expected true or false"),
        (["input=photos", "output=o", "inference.scales=1"], "inference.scales=1: expected"),
        (["input=photos", "output=best.ckpt"], "output=best.ckpt: it is a file, expected a folder"),
        (["input=photos", "output=o", "device=nonsense"], "device=nonsense: "),
        (["input=photos", "output=o", "inference.window=[64]"], r"inference.window=\[64\]: expected"),
        (
            ["input=photos", "output=o", "checkpoint=photos"],
            "checkpoint=photos: expected a run folder with checkpoints/best.ckpt",
        ),
    ],
)
def test_mistakes_are_one_line(main, checkpoint, tmp_path, overrides, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo(0)).save(tmp_path / "photos" / "a.png")
    for name in ("a.jpg", "photos/b.jpg"):
        Image.fromarray(photo(0)).save(tmp_path / name)
    (tmp_path / "photos" / "b.json").write_text("mine")
    before = (tmp_path / "photos" / "a.png").read_bytes()
    with pytest.raises(SystemExit, match=message) as error:
        main("predict", f"checkpoint={checkpoint}", *overrides)
    assert "\n" not in str(error.value)
    assert (tmp_path / "photos" / "a.png").read_bytes() == before
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


@pytest.mark.slow
def test_foreign_files_beside_masks_stay(main, checkpoint, tmp_path):
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    command = ("predict", f"checkpoint={checkpoint}", "input=a.png", "output=o")
    main(*command, "json=false")
    for suffix, switch in ((".json", "json"), (".npz", "probabilities")):
        (tmp_path / f"o/a{suffix}").write_text("mine")
        with pytest.raises(SystemExit, match=f"o/a{suffix} exists, and segment.predict did not write it"):
            main(*command, "json=false", f"{switch}=true")
        assert (tmp_path / f"o/a{suffix}").read_text() == "mine"
        (tmp_path / f"o/a{suffix}").unlink()
    main(*command)
    main(*command, "json=false")
    assert (tmp_path / "o/a.json").is_file()  # it belongs to this mask
    main(*command, "json=false", "inference.flip=true")
    assert not (tmp_path / "o/a.json").exists()  # but not to this one
    main(*command, "inference.flip=true")
    assert sum(json.loads((tmp_path / "o/a.json").read_text())["pixels"].values()) == photo(0).size / 3


@pytest.mark.slow
def test_own_masks_are_recognised_at_any_size(main, checkpoint, tmp_path, capsys):
    Image.new("RGB", (3000, 1000)).save(tmp_path / "a.png")
    command = ("predict", f"checkpoint={checkpoint}", "input=a.png", "output=o")
    main(*command)
    with pytest.raises(SystemExit, match="1 of 1 images could not be segmented"):
        main(*command, "inference.max_memory=0.05")
    assert "pixels, and" in capsys.readouterr().err.replace("\n", " ")


def test_a_foreign_text_in_a_mask_removes_no_files(main, checkpoint, tmp_path):
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    (tmp_path / "o").mkdir()
    for name in ("a.txt", "a_dear.png"):
        (tmp_path / "o" / name).write_text("mine")
    text = PngInfo()
    text.add_text("segment", "some origin\n.png .txt _dear.png /../../a.png")
    Image.fromarray(photo(0)[:, :, 0]).save(tmp_path / "o" / "a.png", pnginfo=text)
    with pytest.raises(SystemExit, match=r"o/a.png exists, and segment.predict did not write it"):
        main("predict", f"checkpoint={checkpoint}", "input=a.png", "output=o")
    assert (tmp_path / "o/a.txt").read_text() == (tmp_path / "o/a_dear.png").read_text() == "mine"
    assert not (tmp_path / "o/a.json").exists()


def test_images_of_any_mode_are_read_as_viewers_show_them(tmp_path):
    image = Image.fromarray(photo(0))
    values = np.array(image)

    def of(picture, name="x.png", **options):
        picture.save(tmp_path / name, **options)
        return read_image(tmp_path / name).permute(1, 2, 0).numpy()

    alpha = np.zeros(values.shape[:2], np.uint8)
    alpha[10:] = 255
    see_through = Image.fromarray(np.dstack([values, alpha]))
    on_white = np.where(alpha[..., None] > 0, values, 255)
    assert np.array_equal(of(see_through), on_white)
    assert np.array_equal(of(see_through, "x.tif"), values)  # its fourth band may be anything, such as infra-red
    grey = np.array(image.convert("L"))
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    assert np.array_equal(of(both), np.repeat(np.where(alpha > 0, grey, 255)[..., None], 3, 2))
    palette = Image.fromarray(grey // 64)
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    shown = of(palette, transparency=0)
    assert (shown[grey < 64] == 255).all()
    assert (shown[(grey >= 64) & (grey < 128)] == [200, 0, 0]).all()
    cmyk = of(image.convert("CMYK"), "x.jpg", quality=100)
    assert np.abs(cmyk.astype(int) - values).mean() < 3
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 200)
    for name in ("x.png", "x.tif"):
        assert np.array_equal(of(deep, name)[..., 1], grey)
    with pytest.raises(SegmentError, match="its numbers have 32 bits, or a sign, and an unknown scale"):
        of(Image.fromarray(grey.astype(np.int32) * 16), "x.tif")
    assert np.abs(of(Image.fromarray(grey.astype(np.float32) / 255), "x.tif")[..., 0].astype(int) - grey).max() <= 1
    for none in (np.nan, np.inf, -np.inf):
        broken = np.where(grey > 100, none, grey.astype(np.float32) / 255)
        found = of(Image.fromarray(broken.astype(np.float32)), "x.tif")[..., 0].astype(int)
        assert np.abs(found - np.where(grey > 100, 0, grey)).max() <= 1
    assert np.array_equal(of(Image.fromarray(grey > 100))[..., 2], (grey > 100) * np.uint8(255))


def test_images_are_read_as_those_that_the_net_was_trained_on(main, content, tmp_path, capsys):
    """The checkpoint has the depth of 16-bit values, and the bands of a TIFF; evaluation takes them, too."""
    data = content["segment"]["data"]
    torch.save({**content, "segment": {**content["segment"], "data": {**data, "bits": 12}}}, tmp_path / "deep.ckpt")
    Image.fromarray(photo(0)[..., 0]).save(tmp_path / "a.png")
    Image.fromarray(photo(0)[..., 0].astype(np.uint16) * 16).save(tmp_path / "deep.png")
    Image.fromarray(np.full((40, 40), 5000, np.uint16)).save(tmp_path / "deeper.png")
    Image.fromarray(np.dstack([photo(0), photo(0)[..., 0]])).save(tmp_path / "bands.tif")
    segmenter = segment.load(tmp_path / "deep.ckpt", "cpu")
    assert np.array_equal(segmenter.predict(tmp_path / "a.png").image, segmenter.predict(tmp_path / "deep.png").image)
    with pytest.raises(SystemExit, match="1 of 4 images could not be segmented"):
        main("predict", "checkpoint=deep.ckpt", "input=*.*[gf]", "output=o")
    printed = capsys.readouterr()
    assert "deeper.png: it holds 5000, and data.bits=12 means 0 to 4095" in printed.err.replace("\n", " ")
    assert "note: 1 of 4 images, such as bands.tif, have more bands than red, green and blue" in printed.out


def test_to_rgb_leaves_rgb_unchanged():
    image = Image.fromarray(photo(0))
    assert np.array_equal(np.array(to_rgb(image)), photo(0))
