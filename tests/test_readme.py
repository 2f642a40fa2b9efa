"""Every command line in the docs, the notebooks and the comments of the configuration files is composed or parsed.

Composing takes a third of a second: those of README.md are composed every day. Of the others, only the keys
are looked up, and slow tests compose them.
"""

import argparse
import importlib.util
import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from segment.cli.config import CONF_DIR, flatten, load_config, plain
from segment.cli.overrides import quote_path
from segment.cli.untrusted_yaml import LOADER
from segment.cli.value_types import check_arguments

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("notebooks/*.ipynb"),
    ROOT / "benchmarks" / "README.md",
    *ROOT.glob("conf/**/*.yaml"),
]
COMMAND = re.compile(r"python -m ((?:segment|benchmarks)(?:\.\w+)+)([^`\n]*)")
HYDRA = {path.stem for path in Path(CONF_DIR).glob("*.yaml")}


def text_of(page: Path) -> str:
    """Return the text of a page; that of a notebook's cells."""
    text = page.read_text("utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def commands(pages: Iterable[Path]) -> Iterator[str]:
    """Yield the command lines as they are written, from the module on and without comments."""
    for page in pages:
        text = re.sub(r"\\\n\s*", "", text_of(page))  # continued lines
        for module, rest in COMMAND.findall(text):
            if page.suffix == ".yaml":  # the rest of a shell loop, and the explanations of --help
                rest = re.split(r" \|\| |  +[^-\s]", rest.replace("${net}", "8s"))[0]
            yield " ".join([module, *shlex.split(rest, comments=True, posix=False)])


TEXTS = [page for page in PAGES if page.suffix != ".yaml"]
COMMANDS = sorted(set(commands(PAGES)))
COMPOSED = [line for line in COMMANDS if line.partition(" ")[0].removeprefix("segment.") in HYDRA]
OFTEN = {*commands([ROOT / "README.md"])}
PARSED = [line for line in COMMANDS if line not in COMPOSED]


def own_parts(folder: Path) -> Path:
    """Write the YAML files of CONTRIBUTING.md's package, for ``--config-dir conf``."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for name, content in re.findall(r"^```yaml\n# conf/(\S+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def single_runs(arguments: list[str]) -> list[list[str]]:
    """Return the overrides of a command line; those of a sweep with the first and with the last value of each key."""
    parser = OverridesParser.create()
    parsed = [parser.parse_override(quote_path(argument)) for argument in arguments]
    swept = {i: list(one.sweep_string_iterator()) for i, one in enumerate(parsed) if one.is_sweep_override()}
    runs = []
    for position in (0, -1) if swept else (0,):
        values = {i: f"{parsed[i].get_key_element()}={texts[position]}" for i, texts in swept.items()}
        runs.append([values.get(i, argument) for i, argument in enumerate(arguments)])
    return runs


def test_every_command_has_an_example():
    assert {f"segment.{name}" for name in HYDRA | {"report", "submission"}} <= {one.split()[0] for one in COMMANDS}


PREFIXES = {".": "", "net": "model.", "loading": "data.", "experiment": "", "sweep": ""}
"""Start of the keys in the files of a folder that is not a group, or whose options set keys of other groups."""


def known_keys(folders: Iterable[Path]) -> set[str]:
    """Return the keys, tables, groups and options (``GROUP=OPTION``) of the YAML files in some folders."""
    known: set[str] = set()
    packages = []
    for folder, path in [(one, path) for one in folders for path in one.rglob("*.yaml")]:
        group = path.parent.relative_to(folder).as_posix()
        prefix = PREFIXES.get(group, f"{group.replace('/', '.')}.")
        content = yaml.load(path.read_text("utf-8"), LOADER) or {}
        entries = [key for entry in content.get("defaults", ()) if isinstance(entry, dict) for key in entry]
        packages += [
            (f"{prefix}{package}.", f"{one.strip('/')}.") for one, _, package in (e.partition("@") for e in entries)
        ]
        for key, _ in flatten(content):
            parts = f"{prefix}{key}".split(".")
            known |= {".".join(parts[: i + 1]) for i in range(len(parts))}
        known |= {group, f"{group}={path.stem}"}
    moved = {package + key.removeprefix(group) for package, group in packages for key in known if key.startswith(group)}
    return known | moved


def named_in(override: str, known: set[str]) -> list[str]:
    """Return the key of an override, or the options if it chooses some."""
    key, _, value = override.partition("=")
    groups = {name.partition("=")[0] for name in known if "=" in name}
    return [f"{key}={name}" for name in re.findall(r"\w+", value) if name != "null"] if key in groups else [key]


def test_the_keys_of_all_commands_exist(tmp_path):
    """Look the names up in the YAML files: composing all lines takes half a minute."""
    known = known_keys([Path(CONF_DIR), own_parts(tmp_path)])
    for line in COMPOSED:
        overrides = [one for one in shlex.split(line)[1:] if "=" in one and not one.startswith(("hydra.", "+"))]
        assert [name for one in overrides for name in named_in(one, known) if name not in known] == [], line


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=() if line in OFTEN else pytest.mark.slow) for line in COMPOSED]
)
def test_a_command_composes(line, tmp_path):
    module, *options = shlex.split(line)
    if not options:  # only mentioned
        return
    arguments = [option for option in options if option not in {"-m", "...", "--help", "--cfg", "job"}]
    if "--config-dir" in arguments:
        position = arguments.index("--config-dir")
        arguments[position : position + 2] = [f"hydra.searchpath=[file://{own_parts(tmp_path)}]"]
    if module == "segment.evaluate" and not any(argument.startswith("data=") for argument in arguments):
        ConfigStore.instance().store(group="data", name="checkpoint", node=plain(load_config(["data=voc"]).data))
        arguments.append("data=checkpoint")
    for overrides in single_runs(arguments):
        config = load_config(overrides, module.removeprefix("segment."))
        assert not OmegaConf.missing_keys(config)
        check_arguments(plain(config))


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_paths_in_this_repository_exist(page):
    paths = re.findall(r"`((?:segment|conf|tests|benchmarks|notebooks|docs)/[\w/.]*)`", text_of(page))
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    """Headings of the reference are made when the site is built, which checks links to them."""
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"(?:\]\(|^\[\w+\]: )([^)\s]+)", text, re.MULTILINE):
        name, _, anchor = target.partition("#")
        if ":" in name:
            continue
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or "reference" in path.parts or anchor in headings(path), target


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    included = re.findall(r"^```\{include\} (\S+)", page.read_text("utf-8"), re.MULTILINE)
    own = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}
    return own.union(*(headings(page.parent / name) for name in included))


class ParsedError(Exception):
    """Raised in place of running a command whose options were parsed."""


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # other tests imported the module, too
@pytest.mark.parametrize("line", PARSED)
def test_the_options_of_a_command_exist(line, monkeypatch):
    module, *options = shlex.split(line)
    assert importlib.util.find_spec(module) is not None
    if not options or "..." in options:  # only mentioned
        return
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, arguments=None):
        parse(parser, arguments)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [module, *options])
    with pytest.raises(ParsedError):
        runpy.run_module(module, run_name="__main__")
