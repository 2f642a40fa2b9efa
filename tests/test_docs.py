"""The documentation site: it builds without a warning, fetches nothing from elsewhere, and explains every key."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.models.segmentation import fcn_resnet50

from segment.cli.config import CONF_DIR, flatten
from segment.cli.help import HIDDEN
from segment.cli.untrusted_yaml import LOADER
from tests.conftest import SMALL

DOCS = Path(__file__).parents[1] / "docs"
PREFIXES = {".": "", "net": "model.", "loading": "data.", "experiment": "", "sweep": ""}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site without running its notebooks, which ``make docs`` does."""
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-D", "nb_execution_mode=off", "-d", folder]
    done = subprocess.run([*command, DOCS, folder / "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_command_and_group_is_in_the_reference():
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    commands = {path.stem for path in Path(CONF_DIR).glob("*.yaml")}
    groups = {path.parent.relative_to(CONF_DIR).as_posix() for path in Path(CONF_DIR).rglob("*/*.yaml")}
    assert {name for name in commands if f"{{command}} {name}\n" not in pages} == set()
    assert {name for name in groups if f"{{group}} {name}\n" not in pages} == {"loading", "net"}


@pytest.mark.slow
def test_nothing_comes_from_elsewhere(site):
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 20
    loaded = r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"((?:https?:)?//[^\"]*)"
    assert {path.name: found for path, text in pages.items() if (found := re.findall(loaded, text))} == {}
    styles = {path: path.read_text("utf-8") for path in site.rglob("*.css")}
    fetched = r"(?:@import|url\()\s*['\"]?((?:https?:)?//[^'\")]*)"
    assert {path.name: found for path, text in styles.items() if (found := re.findall(fetched, text))} == {}
    assert "_static/mathjax/" in pages[site / "reference" / "metrics.html"]


@pytest.mark.slow
def test_every_key_is_on_a_page(site):
    text = html.unescape(" ".join(path.read_text("utf-8") for path in (site / "reference").glob("*.html")))
    shown = {re.sub("<[^>]*>", "", code) for code in re.findall(r"<code[^>]*>(.*?)</code>", text, re.DOTALL)}
    for path in Path(CONF_DIR).rglob("*.yaml"):
        group = path.parent.relative_to(CONF_DIR).as_posix()
        prefix = PREFIXES.get(group, f"{group.replace('/', '.')}.")
        content = yaml.load(path.read_text("utf-8"), LOADER) or {}
        keys = [f"{prefix}{key}" for key, _ in flatten(content) if key and not key.startswith(("defaults", "hydra."))]
        assert [key for key in keys if key not in shown and not key.endswith(("_target_", *HIDDEN))] == [], path
        assert group in {".", "net", "loading"} or f"{group}={path.stem}" in shown, path


@pytest.mark.slow
def test_the_python_of_the_pages_runs(main, tmp_path):
    pytest.importorskip("onnxruntime")
    transformers = pytest.importorskip("transformers")
    main("train", *SMALL, "data.train_size=4", "data.val_size=2", "trainer.max_epochs=1", "hydra.run.dir=RUN")
    shutil.copytree("RUN", "runs/unet")
    main("export", "checkpoint=RUN", "output=net.onnx")
    Image.new("RGB", (64, 48)).save("photo.jpg")
    for kind, mode in (("images", "RGB"), ("masks", "L")):
        Path("DIR", kind).mkdir(parents=True)
        for number in range(5):
            Image.new(mode, (64, 48)).save(Path("DIR", kind, f"{number}.png"))
    Path("FOLDER").mkdir()
    np.savez("FOLDER/photo.npz", probabilities=np.zeros((21, 48, 64), np.uint8))
    for name, mean in (("fcn8s", 0.5), ("unet", 0.6)):
        for seed in range(3):
            job = Path("runs/nets", f"model-{name}_seed-{seed}_0a")
            job.mkdir(parents=True)
            (job / "metrics.json").write_text(json.dumps({"mIoU": mean + seed / 100}))
    shutil.copytree("RUN", "runs/folds/0")
    published = fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    torch.save(published.state_dict(), "fcn_resnet50_coco-1167a1af.pth")
    for name in ("train-volume.tif", "train-labels.tif"):
        Image.new("L", (64, 48)).save(name, save_all=True, append_images=[Image.new("L", (64, 48))])
    segformer = transformers.SegformerConfig(num_labels=150)
    of_hub = "nvidia/segformer-b0-finetuned-ade-512-512"  # a folder of that name comes before the hub
    transformers.SegformerForSemanticSegmentation(segformer).save_pretrained(of_hub)
    transformers.SegformerImageProcessor().save_pretrained(of_hub)
    pages = [page.read_text("utf-8") for page in sorted(DOCS.rglob("*.md"))]
    blocks = [found for page in pages for found in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)]
    assert len(blocks) >= 5
    names: dict = {"images": torch.zeros(1, 3, 64, 64, dtype=torch.uint8)}
    for block in [block for block in blocks if "hf://" not in block]:  # a net of the hub
        exec(block, names)
