"""Pre-trained nets of the library transformers: from a folder, or from the Hugging Face Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from segment.console import print_once
from segment.errors import SegmentError
from segment.files import first_names
from segment.models.adapters.hub_cache import cached_if_unreachable
from segment.models.adapters.transformers_config import for_classes, segmentation_types
from segment.models.normalization import NORMALIZATIONS, Normalization, read_normalization


def load_pretrained(name: str, num_classes: int) -> tuple[Any, Normalization]:
    """Load a net, and print what is new in it.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a name on the hub.
        num_classes: number of its score maps.

    Returns:
        The net, and the normalisation of its images.

    Raises:
        SegmentError: it is no net for semantic segmentation, cannot be loaded, or lacks weights.
    """
    import transformers

    try:
        with cached_if_unreachable(), _quiet():
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
            if config.model_type not in segmentation_types():
                known = ", ".join(segmentation_types())
                raise SegmentError(f"model.name={name} is a {config.model_type}: expected one of {known}")
            before = config.num_labels
            net, info = transformers.AutoModelForSemanticSegmentation.from_pretrained(
                name,
                config=for_classes(config, num_classes),
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                trust_remote_code=False,
                dtype=torch.float32,
            )
            normal = _normalization(name)
    except SegmentError:
        raise
    except Exception as error:  # the library raises whatever its hub, its files and its nets raise
        reason = " ".join(str(error).split())[:200]
        raise SegmentError(
            f"model.name={name} cannot be loaded ({reason}): give a folder that save_pretrained wrote, or "
            "model.config={model_type: segformer} for random weights"
        ) from error
    other = {entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]}
    new = sorted({*info["missing_keys"], *other})
    if lacking := [key for key in new if key.startswith(f"{net.base_model_prefix or 'backbone'}.")]:
        raise SegmentError(f"model.name={name} lacks {len(lacking)} tensors of its net: {first_names(lacking)}")
    if new:
        head = f"a new head for {num_classes} classes in place of {before}" if other else "a new head"
        print_once(f"weights: {name}; {head}: {len(new)} tensors ({first_names(new)})")
    return net, normal


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from printing lists of new weights and progress bars."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _normalization(name: str) -> Normalization:
    """Return the normalisation that a folder's ``preprocessor_config.json`` describes, or ImageNet's without one."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError) as error:
        if "valid JSON" in str(error):  # the library raises the same for a damaged file as for none
            raise
        print_once(f"note: {name} has no preprocessor_config.json: the normalisation is ImageNet's")
        return NORMALIZATIONS["imagenet"]
    scale = 1 / settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1
    mean, std = [0, 0, 0], [1, 1, 1]
    if settings.get("do_normalize", True) and settings.get("image_mean") is not None:
        mean, std = settings["image_mean"], settings["image_std"]
    table = {"mean": [scale * value for value in mean], "std": [scale * value for value in std]}
    return read_normalization({**table, "bgr": bool(settings.get("do_flip_channel_order"))})
