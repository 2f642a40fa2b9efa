"""Runs grouped over their seeds and folds, and the settings in which the groups differ."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from segment.cli.value_types import as_typed
from segment.comparison.names import NAMING_KEYS
from segment.comparison.run import MEASUREMENT, OF_A_NET, TRAINING_FILES, Run
from segment.evaluation.intervals import Interval, mean_iou
from segment.records.per_image import ImageCounts, join_counts

if TYPE_CHECKING:  # torch takes seconds, and --help needs none of it
    from segment.models.costs.measured import MeasuredCost

OPTION_GROUPS = ("model", "model/encoder", "data", "loss", "optimizer", "scheduler", "experiment")
"""Option groups that have a column of their own where runs differ in them, in the order of the columns."""
SETTINGS = "settings"
"""Heading of the column with all other differences."""
ABSENT = "-"
"""Text for a setting that a run does not have."""


@dataclass
class Group:
    """Runs that differ in their seed, or in the fold of a cross-validation, alone.

    Attributes:
        runs: the runs, at least one.
        columns: the cells that distinguish this group from others, by heading.
        settings: the value of each key in which groups differ, by dotted key.
        label: name of the group in plots and below the table.
        interval: 95 % interval of the mIoU averaged over the seeds; None if unknown.
        cost: cost of the net; None if it was not measured.

    Example:
        >>> from pathlib import Path
        >>> from segment.records.folder import RunFolder
        >>> run = Run(RunFolder("runs/a"), {"mIoU": 0.5}, {"seed": 1}, {}, {}, Path("best.ckpt"))
        >>> Group([run]).seeds, Group([run]).scores("mIoU")
        ({'1'}, [0.5])
    """

    runs: list[Run]
    columns: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    label: str = ""
    interval: Interval | None = None
    cost: "MeasuredCost | None" = None

    def scores(self, metric: str) -> list[float]:
        """Return a metric of each run that has it, in 0..1."""
        values = [run.metrics.get(metric) for run in self.runs]
        return [value for value in values if isinstance(value, float | int)]

    @property
    def further_scores(self) -> dict[str, list[float]]:
        """The values of the user's own metrics by name, one for each run that has it; they are no shares."""
        tables = [run.metrics.get("further_metrics", {}) for run in self.runs]
        names = dict.fromkeys(name for table in tables for name in table)
        found = {name: [table.get(name) for table in tables] for name in names}
        return {name: [one for one in values if one is not None and isfinite(one)] for name, values in found.items()}

    @property
    def mean_iou(self) -> float:
        """The mIoU averaged over the runs, by which groups are ranked."""
        values = self.scores("mIoU")
        return sum(values) / len(values) if values else float("-inf")

    @property
    def counts(self) -> list[ImageCounts]:
        """The counts of each run, those of the folds of a seed as one; empty if a run has none.

        An interval has to cover all seeds and folds.
        """
        parts: dict[str, list[ImageCounts]] = {}
        for index, run in enumerate(self.runs):
            if run.counts is None:
                return []
            parts.setdefault(str(run.seed) if self.is_divided else str(index), []).append(run.counts)
        return [join_counts(part) for part in parts.values()]

    @property
    def is_divided(self) -> bool:
        """True if each run was evaluated on its own fold of the images."""
        return "folds" in self.runs[0].metrics

    @property
    def pooled_iou(self) -> float | None:
        """The mIoU of the pixels of all folds together, averaged over the seeds; None without folds or counts."""
        found = [float(mean_iou(counts.pixels.sum(0))) for counts in self.counts] if self.is_divided else []
        return sum(found) / len(found) if found else None

    @property
    def folds(self) -> list[int]:
        """The folds that were held out, in order; empty without a cross-validation."""
        return sorted({run.fold for run in self.runs if run.fold is not None})

    @property
    def seeds(self) -> set[str]:
        """The seeds of the runs."""
        return {str(run.seed) for run in self.runs}


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Group runs of equal settings and equal measurement, in the order in which they were found.

    Returns:
        The groups, and notes that a reader of their scores needs.
    """
    groups: dict[str, Group] = {}
    repeated = []
    for run in runs:
        group = groups.setdefault(_identity(run.settings, run.measurement), Group([]))
        if any((run.seed, run.fold) == (other.seed, other.fold) for other in group.runs):
            # A copy would make the spread over seeds or folds too small.
            fold = ", seed and fold" if group.folds else " and seed"
            repeated.append(f"{run.folder.path} is left out: another run has the same settings{fold}")
        else:
            group.runs.append(run)
    result = list(groups.values())
    for group in result:
        group.runs.sort(key=lambda run: run.fold or 0)
    return result, [*_describe(result), *repeated]


def _identity(settings: Mapping[str, Any], measurement: Mapping[str, Any]) -> str:
    return repr((sorted(settings.items()), measurement))


def measured_differently(runs: Sequence[Run]) -> list[str]:
    """Return the keys of the measurement in which runs differ, as far as it is known how they predicted."""
    return [
        key
        for key in MEASUREMENT
        if _differ(run.measurement[key] for run in runs if run.has_net or key not in OF_A_NET)
    ]


def _describe(groups: Sequence[Group]) -> list[str]:
    """Set the columns, settings and label of each group; return notes that explain them."""
    runs = [group.runs[0] for group in groups]
    nets = [run.name for run in runs]
    options = [name for name in OPTION_GROUPS if _differ(run.choices.get(name) for run in runs if run.has_training)]
    keys = _differing_keys(runs, options)
    values = {key: [_setting(run, key) for run in runs] for key in keys}
    measured = {key: [_measured(run, key) for run in runs] for key in measured_differently(runs)}
    notes = [f"not comparable as they stand: the measurements differ in {', '.join(measured)}"] if measured else []
    notes += [f"{run.name}: {run.protocol}; how they were predicted is not recorded" for run in runs if not run.has_net]
    notes += _number_hashes(values | measured, runs)
    shown = {key: column for key, column in values.items() if not _is_explained(key, values, nets)}
    names = shortest_names(shown, {key for run in runs for key in (*run.config, *MEASUREMENT)})
    usual = {key: _usual(column) for key, column in shown.items()}
    if hidden := [f"{names[key]}={value}" for key, value in usual.items() if value != ABSENT]:
        notes.append(f"unless the column {SETTINGS} says otherwise: {', '.join(hidden)}")
    if "model" in options and _follows([run.choices.get("model") for run in runs], nets):
        options.remove("model")
    for i, (group, run) in enumerate(zip(groups, runs, strict=True)):
        own = [f"{names[key]}={column[i]}" for key, column in shown.items() if column[i] != usual[key]]
        group.columns = {"net": nets[i]}
        group.columns |= {name.rpartition("/")[2]: str(run.choices.get(name) or ABSENT) for name in options}
        group.columns |= {SETTINGS: ", ".join(own)} if shown else {}
        group.settings = {key: values[key][i] for key in keys}
        group.columns |= {key: column[i] for key, column in measured.items()}
        group.label = _label(group.columns)
    return notes


def _measured(run: Run, key: str) -> str:
    """Return a key of the measurement as the table shows it."""
    if not run.has_net and key in OF_A_NET:
        return ABSENT
    return run.protocol if key == "protocol" else as_typed(run.measurement[key])


def _label(columns: Mapping[str, str]) -> str:
    """Return the cells of a group in one line; numbers with their heading."""
    return ", ".join(
        f"{heading} {cell}" if cell.isdigit() else cell for heading, cell in columns.items() if cell not in {"", ABSENT}
    )


def _is_explained(key: str, values: Mapping[str, Sequence[str]], nets: Sequence[str]) -> bool:
    """Return whether the net's name stands for a setting, or the setting only belongs to a part that others lack."""
    if key in NAMING_KEYS and _follows(values[key], nets):
        return True
    part = f"{key.rpartition('.')[0]}._target_"
    return key != part and part in values and len({*values[key]} - {ABSENT}) == 1


def _follows(values: Sequence[Any], nets: Sequence[str]) -> bool:
    """Return whether runs with a net of the same name have the same value."""
    return len({(net, repr(value)) for net, value in zip(nets, values, strict=True)}) == len({*nets})


def _differ(values: Iterable[Any]) -> bool:
    return len({repr(value) for value in values}) > 1


def _setting(run: Run, key: str) -> str:
    """Return the value of a key as the table shows it."""
    value = as_typed(run.config[key]) if key in run.config else ABSENT
    return value.rpartition(".")[2] if key.endswith("_target_") else value


def _differing_keys(runs: Sequence[Run], options: Sequence[str]) -> list[str]:
    """Return the keys in which runs differ, except where the group of the key has another option, which sets it.

    The training files are left out where the other keys distinguish all runs, as ``data.train_split`` does.
    """
    names = dict.fromkeys(key for run in runs for key in run.settings)
    keys = [
        key
        for key in names
        if not _follows([run.settings.get(key, ABSENT) for run in runs], _covers(key, runs, options))
    ]
    others = {
        _identity({key: value for key, value in run.settings.items() if key != TRAINING_FILES}, run.measurement)
        for run in runs
    }
    return keys if len(others) < len(runs) else [key for key in keys if key != TRAINING_FILES]


def _covers(key: str, runs: Sequence[Run], options: Sequence[str]) -> list[str]:
    """Return for each run what sets a key: the options of its groups and of the experiment."""
    groups = [name for name in options if name == "experiment" or key.startswith(f"{name.replace('/', '.')}.")]
    return [repr([run.has_training, *(run.choices.get(name) for name in groups)]) for run in runs]


def _number_hashes(values: dict[str, list[str]], runs: Sequence[Run]) -> list[str]:
    """Replace hashes by numbers; return notes that explain the numbers."""
    places: dict[str, Callable[[Run], Any]] = {
        "files": lambda run: run.metrics.get("root"),
        TRAINING_FILES: lambda run: run.config.get("data.root"),
    }
    notes = []
    for key in filter(values.__contains__, places):
        known: dict[str, str] = {}
        for i, value in enumerate(values[key]):
            if value not in known:
                known[value] = str(len(known) + 1)
                notes.append(f"{key}={known[value]}: {places[key](runs[i])}")
            values[key][i] = known[value]
    return notes


def _usual(values: Sequence[str]) -> str:
    """Return the value that more than half of the groups have; :data:`ABSENT` if there is none."""
    value, count = Counter(values).most_common(1)[0]
    return value if 2 * count > len(values) else ABSENT


def shortest_names(keys: Iterable[str], among: Iterable[str]) -> dict[str, str]:
    """Return the shortest ending of each dotted key that no other key has.

    Args:
        keys: the keys to be named.
        among: all keys, with those to be named.

    Example:
        >>> shortest_names(["model.decoder.skips", "loss.weight"], ["model.decoder.skips", "loss.weight", "net.weight"])
        {'model.decoder.skips': 'skips', 'loss.weight': 'loss.weight'}
    """
    endings = Counter(ending for key in among for ending in _endings(key))
    return {key: next((e for e in _endings(key) if endings[e] == 1), key) for key in keys}


def _endings(key: str) -> Iterator[str]:
    parts = key.removesuffix("._target_").split(".")
    return (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
