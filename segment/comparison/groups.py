"""Runs put together over their seeds, and named by what sets them apart."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segment.cli.value_types import as_typed
from segment.comparison.paired import Counts
from segment.comparison.run import Run

CHOICES = ("model", "model/encoder", "data", "loss", "optimizer", "scheduler", "experiment")
"""Groups of options that name a run, in the order of the columns."""
COLUMNS = 6
"""As many differences have a column each; of more, the keys share one."""
SETTINGS = "settings"
"""The heading of that column."""
VAGUE = {"name", "weights", "images", "split", "net", "root", "source"}
"""Keys that say nothing without what they belong to, or would pass for another column of the report's."""


@dataclass
class Group:
    """Runs that differ in their seed alone; ``values`` are what sets them apart from other groups, by column.

    ``settings`` are the values of the keys that have no column of their own.
    """

    runs: list[Run]
    values: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    label: str = ""

    def scores(self, figure: str) -> list[float]:
        """The figure of each run that has it, in 0..1."""
        values = [run.metrics.get(figure) for run in self.runs]
        return [value for value in values if isinstance(value, float | int)]

    @property
    def mean_iou(self) -> float:
        """Mean over the seeds; what groups are ranked by."""
        values = self.scores("mIoU")
        return sum(values) / len(values) if values else float("-inf")

    @property
    def counts(self) -> list[Counts]:
        """Of each run; none if a run has none, since an interval of some of the seeds would pass for that of all."""
        found = [run.counts for run in self.runs if run.counts is not None]
        return found if len(found) == len(self.runs) else []

    @property
    def seeds(self) -> set[str]:
        return {str(run.seed) for run in self.runs}


def group(runs: Sequence[Run]) -> tuple[list[Group], list[str]]:
    """Runs of equal settings and measurement together, in the order in which they were found.

    Returns:
        The groups, and a line for each thing that a reader of their figures has to know.
    """
    found: dict[str, Group] = {}
    repeated = []
    for run in runs:
        one = found.setdefault(repr((run.recipe, run.measurement)), Group([]))
        if str(run.seed) in one.seeds:  # a spread over copies would pass for one over seeds
            repeated.append(f"{run.folder} is left out: there is a run of the same settings and seed")
        else:
            one.runs.append(run)
    groups = list(found.values())
    return groups, [*_name(groups), *repeated]


def _name(groups: Sequence[Group]) -> list[str]:
    """Give each group its column values and its label."""
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
        one.label = ", ".join(words or net) or run.folder.name
        taken[one.label] += 1
        if taken[one.label] > 1:
            one.label += f" ({taken[one.label]})"
    return notes


def _name_settings(groups: Sequence[Group], columns: Mapping[str, Sequence[str]], choices: Sequence[str]) -> str:
    """Give each group the column of its settings that are not the commonest ones; a line says which those are.

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
            # A key that all of these options lack says nothing beside them.
            if value != usual[name] and any(columns[name][j] != "-" for j in alike)
        ]
        one.values[SETTINGS] = ", ".join(own)
    common = ", ".join(f"{name} {value}" for name, value in usual.items() if value != "-")
    return f"{SETTINGS}: what differs from the commonest values, which are {common}"


def _setting(run: Run, key: str) -> str:
    """A key's value in a column, "-" where the run has no such key."""
    value = as_typed(run.config[key]) if key in run.config else "-"
    return value.rpartition(".")[2] if key.endswith("_target_") else value


def _unexplained(runs: Sequence[Run], choices: Sequence[str]) -> list[str]:
    """Keys in which runs of the same options differ: fcn8s and fcn32s say what their skips are."""
    alike: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        alike[tuple(run.choices.get(c) for c in choices)].append(run.settings)
    names = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key for key in names if any(len({repr(s.get(key, "-")) for s in settings}) > 1 for settings in alike.values())
    ]


def _short(keys: Sequence[str]) -> list[str]:
    """The last part of each dotted key, and as many more as it takes to tell them apart."""

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
    """Columns for that in which the measurements differ, and a line that says so."""
    differ = [key for key in firsts[0].measurement if len({repr(run.measurement[key]) for run in firsts}) > 1]
    if not differ:
        return []
    notes = [f"not comparable as they stand: the figures differ in {', '.join(differ)}"]
    protocols = list(dict.fromkeys(str(run.metrics.get("protocol")) for run in firsts))
    for one, run in zip(groups, firsts, strict=True):
        for key in differ:
            value = "-" if run.measurement[key] is None else as_typed(run.measurement[key])
            one.values[key] = chr(ord("A") + protocols.index(value) % 26) if key == "protocol" else value
    if "protocol" in differ:
        notes += [f"protocol {chr(ord('A') + i % 26)}: {text}" for i, text in enumerate(protocols)]
    return notes
