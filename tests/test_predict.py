"""Predicting with checkpoints: any image, any file name, any checkpoint; from the command line and in Python."""

import json
import os
import pickle
import re
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
from segment.data.datasets.shapes import SHAPES, draw
from segment.data.images import read_image, to_rgb
from segment.errors import SegmentError
from segment.records.checkpoint import check_targets, load_checkpoint, load_net, own_data
from tests.conftest import untrained


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A checkpoint's: of a net that was not trained, but tells classes apart."""
    torch.manual_seed(0)
    content = torch.load(untrained(tmp_path_factory.mktemp("net") / "best.ckpt"), weights_only=True)
    for key, value in content["state_dict"].items():
        if ".score." in key:
            value.normal_()
    return content


@pytest.fixture
def checkpoint(content, tmp_path):
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def photo(seed):
    return draw(np.random.default_rng(seed))[0]


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# The command line


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
        assert mask.size == image.size == Image.open(out / f"{stem}_overlay.jpg").size
        assert mask.getpalette()[: 3 * len(SHAPES)] == [v for colour in SHAPES.palette for v in colour]
        found = np.array(mask)
        if name.endswith(".png"):
            expected = net.predict(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])[0]
            assert np.array_equal(found, expected.numpy())
            assert len(np.unique(found)) > 2
        pixels = json.loads((out / f"{stem}.json").read_text())["pixels"]
        assert pixels == {name: int((found == i).sum()) for i, name in enumerate(SHAPES.names)}


def test_a_pattern_goes_on_where_it_was(main, checkpoint, content, tmp_path, capfd):
    for place in ("2023/a", "2024/a", "2024/b"):
        path = tmp_path / "photos" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(0)[:40, :50]).save(path)
    (tmp_path / "photos" / "2023" / "up").symlink_to(tmp_path / "photos")  # ** would go round in circles, 2^40 of them
    (tmp_path / "photos" / "2023" / "self").symlink_to(".")
    (tmp_path / "photos" / "2023" / "next").symlink_to("../2024")
    (tmp_path / "photos" / "2024" / "back").symlink_to("../2023")
    out = tmp_path / "photos" / "out"  # what is made is not taken for images next time
    words = [f"checkpoint={checkpoint}", f"input={tmp_path}/photos/**/*.png", f"output={out}", "probabilities=true"]

    def made():
        """Which masks another run writes anew."""
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
        main("predict", *words)
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
    words.append("inference.flip=true")
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
    """Files that break programs; returns the names of those that no one could segment."""
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
    said = capfd.readouterr().err
    assert "Traceback" not in said
    skipped = [line for line in said.splitlines() if "skipped: cannot read the image" in line]
    assert len(skipped) == len(bad)
    assert all(any(repr(name)[1:-1] in line for line in skipped) for name in bad)
    assert np.array(Image.open(tmp_path / "out" / "small_1.png")).shape == (90, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input=nowhere", "output=o"], "input=nowhere: no such file or folder"),
        (["input=empty", "output=o"], "input=empty: no image in this folder"),
        (["input=*.gif", "output=o"], r"input=\*.gif: no image matches"),
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
        (["input=photos", "output=o", "checkpoint=photos"], "photos is a folder"),
    ],
)
def test_mistakes_are_one_line(main, checkpoint, tmp_path, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo(0)).save(tmp_path / "photos" / "a.png")
    for name in ("a.jpg", "photos/b.jpg"):
        Image.fromarray(photo(0)).save(tmp_path / name)
    (tmp_path / "photos" / "b.json").write_text("mine")
    before = (tmp_path / "photos" / "a.png").read_bytes()
    with pytest.raises(SystemExit, match=message) as error:
        main("predict", *([] if any("checkpoint=" in word for word in words) else [f"checkpoint={checkpoint}"]), *words)
    assert "\n" not in str(error.value)
    assert (tmp_path / "photos" / "a.png").read_bytes() == before
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


def test_files_of_others_that_lie_beside_our_masks_stay(main, checkpoint, tmp_path):
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    words = ("predict", f"checkpoint={checkpoint}", "input=a.png", "output=o")
    main(*words, "json=false")
    for suffix, switch in ((".json", "json"), (".npz", "probabilities")):
        (tmp_path / f"o/a{suffix}").write_text("mine")
        with pytest.raises(SystemExit, match=f"o/a{suffix} exists, and segment.predict did not write it"):
            main(*words, "json=false", f"{switch}=true")
        assert (tmp_path / f"o/a{suffix}").read_text() == "mine"
        (tmp_path / f"o/a{suffix}").unlink()
    main(*words)
    main(*words, "json=false")
    assert (tmp_path / "o/a.json").is_file()  # it goes with this mask
    main(*words, "json=false", "inference.flip=true")
    assert not (tmp_path / "o/a.json").exists()  # and not with this one
    main(*words, "inference.flip=true")
    assert sum(json.loads((tmp_path / "o/a.json").read_text())["pixels"].values()) == photo(0).size / 3


def test_masks_of_ours_are_known_whatever_their_size(main, checkpoint, tmp_path, capsys):
    Image.new("RGB", (3000, 1000)).save(tmp_path / "a.png")
    words = ("predict", f"checkpoint={checkpoint}", "input=a.png", "output=o")
    main(*words)
    with pytest.raises(SystemExit, match="1 of 1 images could not be segmented"):
        main(*words, "inference.max_memory=0.05")
    assert "pixels, and" in capsys.readouterr().err.replace("\n", " ")


def test_a_note_of_a_stranger_removes_no_files(main, checkpoint, tmp_path):
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    (tmp_path / "o").mkdir()
    for name in ("a.txt", "a_dear.png"):
        (tmp_path / "o" / name).write_text("mine")
    note = PngInfo()
    note.add_text("segment", "made of something\n.png .txt _dear.png /../../a.png")
    Image.fromarray(photo(0)[:, :, 0]).save(tmp_path / "o" / "a.png", pnginfo=note)
    main("predict", f"checkpoint={checkpoint}", "input=a.png", "output=o")
    assert (tmp_path / "o/a.txt").read_text() == (tmp_path / "o/a_dear.png").read_text() == "mine"
    assert (tmp_path / "a.png").is_file()
    assert (tmp_path / "o/a.json").is_file()


# What images look like


def test_images_of_any_mode_are_as_people_see_them(tmp_path):
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
    assert np.array_equal(of(see_through, "x.tif"), on_white)
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
    for picture, name in ((deep, "x.png"), (deep, "x.tif"), (Image.fromarray(grey.astype(np.int32) * 256), "x.tif")):
        assert np.array_equal(of(picture, name)[..., 1], grey)
    assert np.abs(of(Image.fromarray(grey.astype(np.float32) / 255), "x.tif")[..., 0].astype(int) - grey).max() <= 1
    for none in (np.nan, np.inf, -np.inf):
        broken = np.where(grey > 100, none, grey.astype(np.float32) / 255)
        found = of(Image.fromarray(broken.astype(np.float32)), "x.tif")[..., 0].astype(int)
        assert np.abs(found - np.where(grey > 100, 0, grey)).max() <= 1
    assert np.array_equal(of(Image.fromarray(grey > 100))[..., 2], (grey > 100) * np.uint8(255))


# Python


def test_predict_takes_whatever_holds_an_image(checkpoint, tmp_path):
    model = segment.load(checkpoint, device="cpu")
    assert model.classes.names == SHAPES.names
    assert model.palette == SHAPES.palette
    assert "6 classes: background, disc, square" in repr(model)
    values = photo(3)
    image = Image.fromarray(values)
    image.save(tmp_path / "a.png")
    tensor = torch.from_numpy(values).permute(2, 0, 1)
    found = [model.predict(x) for x in (tmp_path / "a.png", str(tmp_path / "a.png"), image, values, tensor)]
    assert all(np.array_equal(result.mask, model.net.predict(tensor[None])[0].numpy()) for result in found)
    assert all(np.array_equal(result.image, values) for result in found)
    grey = values[..., 0]
    for x in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(model.predict(x).mask, model.predict(np.dstack([grey] * 3)).mask)
    result = model.predict(image, probabilities=True)
    assert result.probabilities.shape == (len(SHAPES), *result.mask.shape)
    assert sum(result.counts().values()) == result.mask.size
    assert result.overlay().size == image.size
    for path in (tmp_path / "new" / "mask.png", tmp_path / "mask.PNG"):
        result.save(path)
        assert np.array_equal(np.array(Image.open(path)), result.mask)
    assert re.fullmatch(r"Segmentation\(\d+x\d+: (\w+ [\d.]+ %(, )?)+(\.\.\.)?\)", repr(result))
    assert result._repr_png_().startswith(b"\x89PNG")
    shown = result._repr_html_()
    assert f"square {100 * result.counts()['square'] / result.mask.size:.1f} %" in shown
    for wrong in (values / 255, values.transpose(2, 0, 1), tensor[None], np.zeros((0, 5), np.uint8), grey[0], grey > 9):
        with pytest.raises(
            SegmentError, match=r"expected uint8 values from 0 to 255 in an array \(H,W\), .*\(H,W,3\).*; got"
        ):
            model.predict(wrong)
    with pytest.raises(SegmentError, match="expected a path, a PIL image, an array or a tensor, got a list"):
        model.predict([values])
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with pytest.raises(SegmentError, match="cannot read the image: image file is truncated"):
        model.predict(Image.open(tmp_path / "half.png"))
    with pytest.raises(SegmentError, match=r"mask.jpg: expected a name that ends in .png"):
        result.save("mask.jpg")


def test_importing_segment_is_light():
    code = "import sys, segment; print(segment.load.__name__, 'torch' in sys.modules, 'hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["load", "False", "False"]


# Checkpoints from strangers


class Evil:
    def __reduce__(self):
        return os.system, ("touch done",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**content, "epoch": Evil()}, tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps({**content, "state_dict": Evil()}))
    torch.save({**content, "epoch": Evil()}, tmp_path / "c.ckpt", _use_new_zipfile_serialization=False)
    for name in ("a.ckpt", "b.ckpt", "c.ckpt"):
        with pytest.raises(SegmentError, match=rf"{name} is not a file of weights"):
            segment.load(tmp_path / name)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_target_": "os.system", "command": "touch done"}, "wants to build os.system"),
        ({"encoder": {"_target_": "os.system", "command": "touch done"}}, "wants to build os.system"),
        ({"decoder": {"_target_": "os.system", "_partial_": True}}, "wants to build os.system"),
        ({"encoder": {"stages": [{"deep": [{"_target_": "subprocess.run", "_args_": ["x"]}]}]}}, "subprocess.run"),
        ({"_target_": ["os.system"]}, "wants to build"),
        ({"_target_": {"_target_": "os.system"}}, "wants to build"),
        ({"_target_": "segment.models.net.torch.hub.load"}, "wants to build segment.models.net.torch.hub.load"),
        ({"_target_": "segment.models.net.Tensor"}, "wants to build segment.models.net.Tensor"),
        ({"_target_": "segment.models.weights.load_file"}, "wants to build"),
        ({"_target_": "segment.data.downloads.fetch.Release"}, "expected a class of segment.models"),
        ({"_target_": ""}, "wants to build"),
        ({"normalization": "${oc.env:HOME}"}, r"wants \${oc.env:HOME} to be filled in"),
        ({"${oc.env:HOME}": 1}, "to be filled in"),
        ({"frozen_stages": torch.zeros(3)}, "holds a Tensor"),
        ({"encoder": None}, "its net can't be built"),
        (
            {"encoder": {"_target_": "segment.models.UNetEncoder", "width": "x"}},
            "encoder.width=x: expected a whole number",
        ),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_configuration_builds_nets_and_nothing_else(content, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    card = content["segment"]
    torch.save({**content, "segment": {**card, "model": {**card["model"], **change}}}, tmp_path / "evil.ckpt")
    with pytest.raises(SegmentError, match=message):
        segment.load("evil.ckpt")
    assert not (tmp_path / "done").exists()


def test_a_stranger_s_net_downloads_nothing(content, monkeypatch):
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    card = content["segment"]
    part = {"_target_": "segment.models.MobileNetV2Encoder"}
    for deep in (part, {**part, "weights": "imagenet"}, [{"x": {**part, "weights": "imagenet"}}]):
        model = {**card["model"], "decoder": {**card["model"]["decoder"], "x": deep}}
        with pytest.raises(SegmentError, match="unexpected keyword argument 'x'"):
            load_net({**content, "segment": {**card, "model": model}}, "a.ckpt")


def test_other_damage_to_a_checkpoint(content, tmp_path):
    card = content["segment"]
    for change in (
        {"segment": {**card, "model": "os.system"}},
        {"segment": {**card, "classes": {"names": ["a"], "palette": [[0, 0, 300]]}}},
        {"segment": {**card, "classes": {"names": ["\x1b[2J"], "palette": [[0, 0, 0]]}}},
        {"segment": {**card, "classes": {"names": ["a"] * 6, "palette": [[0, 0, 0]] * 6}}},
        {"segment": {**card, "classes": 7}},
        {"segment": 7},
        {"segment": {**card, "model": {}}},
        {"segment": {**card, "model": {"_target_": "segment.models.FCNDecoder", "channels": {32: 8}}}},
        {"state_dict": [1]},
        {"state_dict": {"net.x": 1, 3: 4}},
    ):
        torch.save({**content, **change}, tmp_path / "damaged.ckpt")
        with pytest.raises(SegmentError):
            segment.load(tmp_path / "damaged.ckpt")


def test_a_stranger_s_data_configuration_downloads_nothing(content, checkpoint):
    assert own_data(load_checkpoint(checkpoint)) == content["segment"]["data"]
    evil = {"_target_": "segment.data.datasets.voc.VOCDataModule", "root": "x", "download": True, "url": "http://evil"}
    found = own_data({"segment": {"data": evil}})
    assert (found["download"], found["url"]) == (False, None)
    with pytest.raises(SegmentError, match="refused"):
        own_data({"segment": {"data": {**evil, "root": "${oc.env:HOME}"}}})
    with pytest.raises(SegmentError, match="refused"):
        check_targets({**evil, "_target_": "segment.data.downloads.fetch.FileLock"}, "segment.data")


def test_to_rgb_leaves_what_is_right():
    image = Image.fromarray(photo(0))
    assert np.array_equal(np.array(to_rgb(image)), photo(0))
