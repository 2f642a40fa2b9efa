"""The model card of a shared folder: Markdown below a front matter that the Hugging Face Hub reads."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from segment import __version__
from segment.cli.config import flatten
from segment.cli.overrides import WITHOUT_EFFECT, matches_key, override_key
from segment.display.escapes import escape_markdown
from segment.display.grid import Grid, markdown
from segment.display.metrics_table import TITLES, interval_text, percent
from segment.files import checkpoint_digest, printable
from segment.records.folder import RunFolder
from segment.records.hub import PICTURE
from segment.records.metrics_json import read_metrics
from segment.records.provenance import read_provenance
from segment.records.trust import MODELS, needed_trust, trust_override

LIBRARY = "segment-lightning"


def read_card_facts(checkpoint: Path) -> tuple[dict[str, Any], list[str], Path | None]:
    """Return what the run folder of a checkpoint says of it: metrics, the training command, and a picture.

    Metrics of another checkpoint in the folder, such as an earlier one of the same name, are left out, and so is the
    picture, which was made with them.
    """
    folder = RunFolder.of_checkpoint(checkpoint)
    record = read_provenance(folder) if folder.holds(checkpoint) else None
    metrics = read_metrics(folder.metrics) if folder.metrics.is_file() else {}
    if metrics.get("checkpoint_digest") != checkpoint_digest(checkpoint):
        return {}, training_command(record), None
    return metrics, training_command(record), min(folder.predictions.glob("*.png"), default=None)


def training_command(record: Mapping[str, Any] | None) -> list[str]:
    """Return the command line of a training; places, logging and folders of this machine are left out."""
    if record is None:
        return []
    places = ["data.root=DIR" for override in record["overrides"] if override_key(override) == "data.root"]
    kept = [one for one in record["overrides"] if not matches_key(override_key(one).lstrip("+~"), WITHOUT_EFFECT)]
    own = ["--config-dir", "DIR"] if record["config_dirs"] else []
    shown = [re.sub(r"""(?<=[=,:\['"\s])[/~][^,\]}'"]*/""", "", one) for one in kept]
    return ["python", "-m", "segment.train", *own, *shown, *places]


def model_card(
    title: str,
    address: str,
    metadata: Mapping[str, Any],
    facts: tuple[Mapping[str, Any], list[str], Path | None],
    licence: str | None,
) -> str:
    """Return the model card.

    Args:
        title: name of the net.
        address: the argument of ``segment.load``.
        metadata: metadata of the checkpoint.
        facts: see :func:`read_card_facts`.
        licence: licence of the weights, as the hub names it; None if the user gave none.
    """
    metrics, command, picture = facts
    names, trust = metadata["classes"]["names"], needed_trust(metadata["model"], (MODELS,))
    trusted = f", trust={trust}" if trust else ""
    overrides = shlex.join([f"checkpoint={address}", *([trust_override(trust)] if trust else [])])
    parts = [
        f"# {escape_markdown(title)}",
        f"A net for semantic segmentation with {len(names)} classes: {', '.join(map(escape_markdown, names))}.",
        *([f"![Image, truth and prediction]({PICTURE})"] if picture else []),
        "## Use",
        _code(
            "import segment  # pip install 'segment-lightning[hub]'\n\n"
            f"segmenter = segment.load({address!r}{trusted})\n"
            'segmenter.predict("photo.jpg").overlay(legend=True).save("overlay.png")',
            "python",
        ),
        _code(f"python -m segment.predict {overrides} input=PHOTOS output=FOLDER"),
        "## Metrics",
        *_metrics(metrics),
        "## Data",
        f"Trained on {_data_name(metadata, metrics)}.",
        "## Weights",
        f"Licence: {escape_markdown(licence or 'not stated by the author')}.{_origins(metadata['model'])}",
        "## Training",
        _code(printable(shlex.join(command))) if command else "The command is not recorded.",
        f"segment-lightning {__version__}.",
    ]
    return f"---\n{_front_matter(title, metadata, metrics, licence)}---\n\n" + "\n\n".join(parts) + "\n"


def _code(text: str, language: str = "bash") -> str:
    return f"```{language}\n{text}\n```"


def _data_name(metadata: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return the name of the data set, or the class of its data module where no metrics name it."""
    target = str(metadata["data"].get("_target_")).rpartition(".")[2]
    return escape_markdown(str(metrics.get("data") or metadata["data"].get("name") or target))


def _origins(model: Mapping[str, Any]) -> str:
    """Return a sentence about the weights that the training began with, whose licences apply, too."""
    found = [f"{key}={value}" for key, value in flatten(model) if key.endswith("weights") and isinstance(value, str)]
    began = ", ".join(f"`{printable(one).replace('`', '')}`" for one in found)
    return f" The training began with {began}: that licence applies, too." if found else ""


def _metrics(metrics: Mapping[str, Any]) -> list[str]:
    """Return the paragraphs about the metrics: the protocol, a table, and the notes."""
    if not metrics:
        return ["Not evaluated."]
    rows = [[title.strip(), percent(metrics[key]), ""] for key, title in TITLES.items() if key in metrics]
    rows[0][2] = interval_text(metrics)
    rows += [[f"IoU of {name}", percent(value), ""] for name, value in metrics["per_class_IoU"].items()]
    title = f"{metrics.get('data')}, {metrics.get('split')} split, {metrics.get('images')} images, per cent"
    trained = metrics.get("images_trained_on")
    notes = [
        f"{trained} of these images were in the training set, so these scores are optimistic." if trained else None,
        f"Protocol: {metrics.get('protocol')}.",
        f"Interval: {metrics.get('mIoU_interval_covers')}." if metrics.get("mIoU_interval") else None,
        metrics.get("mIoU_interval_note"),
    ]
    table = markdown(Grid(title, ["metric", "value", "interval"], rows, text=["interval"])).strip()
    return [table, *(escape_markdown(note) for note in notes if note)]


def _front_matter(title: str, metadata: Mapping[str, Any], metrics: Mapping[str, Any], licence: str | None) -> str:
    """Return the front matter: what the hub lists, filters and shows."""
    content: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": "image-segmentation"}
    if licence is not None:
        content["license"] = licence
    content["tags"] = ["semantic-segmentation", "pytorch"]
    if metrics.get("mIoU") is not None:
        data = str(metrics.get("data"))
        result = {
            "task": {"type": "image-segmentation", "name": "semantic segmentation"},
            "dataset": {"type": data, "name": data, "split": metrics.get("split")},
            "metrics": [{"type": "mean_iou", "name": "mean IoU", "value": round(metrics["mIoU"], 4)}],
        }
        content["model-index"] = [{"name": title, "results": [result]}]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
