"""Configurations of nets of the library transformers, which may come from a stranger."""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from segment.errors import SegmentError

OMITTED_KEYS = {
    "id2label", "label2id", "architectures", "_name_or_path", "transformers_version", "dtype", "problem_type",
    "return_dict", "output_hidden_states", "output_attentions", "is_encoder_decoder", "chunk_size_feed_forward",
}  # fmt: skip
"""Keys of a configuration that do not describe a net."""
MAX_TOTAL = 1_000_000
"""Bound for the sum of a configuration's whole numbers: the library makes a list with an entry for each layer."""
REFUSED_BACKBONES = ("timm_backbone", "timm_wrapper")
"""Backbones that another library builds, by a name that it may look up on a server."""


def build_from_config(config: Mapping[str, Any], num_classes: int) -> Any:
    """Build a net with random weights; nothing is looked up on a server.

    Args:
        config: the net's configuration, which may come from a stranger.

    Raises:
        SegmentError: a type or key is unknown, or the net cannot be built.
    """
    from transformers import AutoModelForSemanticSegmentation

    made = check_net_config(config, segmentation_types(), "model.config")
    try:
        return AutoModelForSemanticSegmentation.from_config(for_classes(made, num_classes))
    except SegmentError:
        raise
    except Exception as error:  # a configuration can raise anything
        reason = " ".join(str(error).split())[:200]
        raise SegmentError(f"model.config: transformers cannot build this {made.model_type}: {reason}") from error


def for_classes(config: Any, num_classes: int) -> Any:
    """Return a configuration for a number of classes, without the second head of some nets: no loss of ours has it."""
    config.num_labels = num_classes
    if hasattr(config, "use_auxiliary_head"):
        config.use_auxiliary_head = False
    return config


def known_keys(kind: Any) -> set[str]:
    """Return the keys that a class of configurations has."""
    return {*kind().to_dict()} - OMITTED_KEYS


def record(config: Any) -> dict[str, Any]:
    """Return a configuration as plain data that :func:`check_net_config` takes."""
    values = {key: getattr(config, key) for key in config.to_dict() if key in known_keys(type(config))}
    inner = {key: record(value) for key, value in values.items() if hasattr(value, "to_dict")}
    plain: dict[str, Any] = json.loads(json.dumps({**values, **inner}))
    return plain


def segmentation_types() -> list[str]:
    """Return the values of ``model_type`` of the nets for semantic segmentation."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as NAMES

    return sorted(NAMES)


def backbone_types() -> list[str]:
    """Return the values of ``model_type`` of the backbones that transformers builds by itself."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES as NAMES

    return sorted({*NAMES} - {*REFUSED_BACKBONES})


def check_net_config(config: Mapping[str, Any], types: list[str], key: str) -> Any:
    """Return transformers' configuration of these values, once its keys are known: it keeps any key without a word.

    Only these keys are taken, so that a stranger's configuration names no code and no server.

    Args:
        types: values that ``model_type`` may have.
        key: key of the configuration, for errors.

    Raises:
        SegmentError: a type or key is unknown.
    """
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type")
    if kind not in types:
        raise SegmentError(f"{key}.model_type={kind}: expected one of {', '.join(types)}")
    try:
        known = known_keys(CONFIG_MAPPING[kind])
        if unknown := [str(name) for name in config if name not in known]:
            close = difflib.get_close_matches(unknown[0], known, 1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(known))}"
            raise SegmentError(f"{key}.{unknown[0]}: {kind} has no such key: {hint}")
        if _total(config) > MAX_TOTAL:
            raise SegmentError(f"{key}: its whole numbers add up to more than {MAX_TOTAL:,}, too large a net")
        inner = {
            name: check_net_config(value, backbone_types(), f"{key}.{name}")
            for name, value in config.items()
            if name == "backbone_config" and value is not None
        }
        return CONFIG_MAPPING[kind](**{**config, **inner})
    except SegmentError:
        raise
    except Exception as error:  # a configuration can raise anything
        raise SegmentError(f"{key}: {kind}: {' '.join(str(error).split())[:200]}") from error


def _total(value: Any) -> int:
    """Return the sum of all whole numbers in plain data, without their signs."""
    if isinstance(value, Mapping | list | tuple):
        return sum(map(_total, value.values() if isinstance(value, Mapping) else value))
    return abs(value) if isinstance(value, int) else 0
