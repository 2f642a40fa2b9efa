"""Runs grouped over their seeds, and named by the settings in which the groups differ."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segment.cli.value_types import as_typed
from segment.comparison.run import Run
from segment.records.per_image import ImageCounts

CHOICES = ("model", "model/encoder", "data", "loss", "optimizer", "scheduler", "experiment")
"""Groups of options that name a run, in the order of the columns."""
COLUMNS = 6
"""Number of differences up to which each has a column; more differences share the column "settings"."""
SETTINGS = "settings"
VAGUE = {"name", "weights", "images", "split", "net", "root", "source"}
"""Last parts of keys that are shown with the part before, since they say little or name a column of the report."""


@dataclass
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        runs: at least one.
        values: the settings that tell this group from others, by column.
        settings: the values of keys that have no column of their own.
        label: name of the group.
    """

    runs: list[Run]
    values: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    label: str = ""

    def scores(self, metric: str) -> list[float]:
        """Return a metric of each run that has it, in 0..1."""
        values = [run.metrics.get(metric) for run in self.runs]
        return [value for value in values if isinstance(value, float | int)]

    @property
    def mean_iou(self) -> float:
        """The mIoU averaged over the seeds, by which groups are ranked."""
        values = self.scores("mIoU")
        return sum(values) / len(values) if values else float("-inf")

    @property
    def counts(self) -> list[ImageCounts]:
        """The counts of each run; empty if a run has none, since the interval has to be that of all seeds."""
        found = [run.counts for run in self.runs if run.counts is not None]
        return found if len(found) == len(self.runs) else []

    @property
    def seeds(self) -> set[str]:
        """The seeds of the runs."""
        return {str(run.seed) for run in self.runs}


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Group runs of equal settings and measurement, in the order in which they were found.

    Returns:
        The groups, and notes that a reader of their scores needs.
    """
    found: dict[str, Group] = {}
    repeated = []
    for run in runs:
        one = found.setdefault(repr((run.recipe, run.measurement)), Group([]))
        if str(run.seed) in one.seeds:  # copies would make the spread over seeds too small
            repeated.append(f"{run.folder.path} is left out: another run has the same settings and seed")
        else:
            one.runs.append(run)
    groups = list(found.values())
    return groups, [*_name(groups), *repeated]


def _name(groups: Sequence[Group]) -> list[str]:
    """Set the column values and the label of each group."""
    notes = []
    firsts = [one.runs[0] for one in groups]
    choices = [c for c in CHOICES if len({str(run.choices.get(c)) for run in firsts}) > 1]
    keys = _unexplained(firsts, choices)
    for name, key in [(c.rpartition("/")[2], c) for c in choices]:
        for one, run in zip(groups, firsts, strict=True):
            one.values[name] = as_typed(run.choices.get(key))
    columns = {name: [_setting(run, key) for run in firsts] for name, key in zip(_short(keys), keys, strict=True)}
    if keys and len(choices) + len(keys) > COLUMNS:
        notes.append(_name_settings(groups, columns, choices))
    else:
        for name, values in columns.items():
            for one, value in zip(groups, values, strict=True):
                one.values[name] = value
    notes += _name_measurement(groups, firsts)
    clear = {"split", SETTINGS, *(c.rpartition("/")[2] for c in choices)}
    taken: dict[str, int] = defaultdict(int)
    for one, run in zip(groups, firsts, strict=True):
        words = [value if name in clear else f"{name} {value}" for name, value in one.values.items() if value]
        net = [str(run.choices[c]) for c in ("model", "model/encoder") if run.choices.get(c)]
        one.label = ", ".join(words or net) or run.folder.path.name
        taken[one.label] += 1
        if taken[one.label] > 1:
            one.label += f" ({taken[one.label]})"
    return notes


def _name_settings(groups: Sequence[Group], columns: Mapping[str, Sequence[str]], choices: Sequence[str]) -> str:
    """Set each group's column of the settings that are not the commonest ones; return a note with the commonest ones.

    Args:
        columns: each group's value, by the key's name.
        choices: the groups of options that have columns.
    """
    usual = {name: Counter(values).most_common(1)[0][0] for name, values in columns.items()}
    options = [tuple(one.runs[0].choices.get(c) for c in choices) for one in groups]
    for i, one in enumerate(groups):
        alike = [j for j, other in enumerate(options) if other == options[i]]
        one.settings = {name: values[i] for name, values in columns.items()}
        own = [
            f"{name} {value}"
            for name, value in one.settings.items()
            # A key that no group with these options has is no difference.
            if value != usual[name] and any(columns[name][j] != "-" for j in alike)
        ]
        one.values[SETTINGS] = ", ".join(own)
    common = ", ".join(f"{name} {value}" for name, value in usual.items() if value != "-")
    return f"{SETTINGS}: what differs from the commonest values, which are {common}"


def _setting(run: Run, key: str) -> str:
    """Return a key's value as a column shows it; "-" if the run has no such key."""
    value = as_typed(run.config[key]) if key in run.config else "-"
    return value.rpartition(".")[2] if key.endswith("_target_") else value


def _unexplained(runs: Sequence[Run], choices: Sequence[str]) -> list[str]:
    """Return the keys in which runs of the same options differ: the names fcn8s and fcn32s already tell their skips."""
    alike: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        alike[tuple(run.choices.get(c) for c in choices)].append(run.settings)
    names = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key for key in names if any(len({repr(s.get(key, "-")) for s in settings}) > 1 for settings in alike.values())
    ]


def _short(keys: Sequence[str]) -> list[str]:
    """Return the last part of each dotted key, and as many more as make the names different."""

    def ending(key: str, length: int) -> str:
        parts = key.removesuffix("._target_").split(".")
        return ".".join(parts[-length - (parts[-1] in VAGUE) :])

    result = []
    for key in keys:
        length = 1
        while sum(ending(other, length) == ending(key, length) for other in keys) > 1 and length <= key.count("."):
            length += 1
        result.append(ending(key, length))
    return result


def _name_measurement(groups: Sequence[Group], firsts: Sequence[Run]) -> list[str]:
    """Set columns for the differences of the measurements; return a note about them."""
    differ = [key for key in firsts[0].measurement if len({repr(run.measurement[key]) for run in firsts}) > 1]
    if not differ:
        return []
    notes = [f"not comparable as they stand: the measurements differ in {', '.join(differ)}"]
    protocols = list(dict.fromkeys(str(run.metrics.get("protocol")) for run in firsts))
    for one, run in zip(groups, firsts, strict=True):
        for key in differ:
            value = "-" if run.measurement[key] is None else as_typed(run.measurement[key])
            one.values[key] = chr(ord("A") + protocols.index(value) % 26) if key == "protocol" else value
    if "protocol" in differ:
        notes += [f"protocol {chr(ord('A') + i % 26)}: {text}" for i, text in enumerate(protocols)]
    return notes
