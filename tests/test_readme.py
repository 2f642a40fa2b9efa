"""Every command line in the docs and in the comments of the configuration files is composed or parsed."""

import argparse
import importlib.util
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from segment.cli.config import CONF_DIR, load_config, plain
from segment.cli.overrides import quote_path
from segment.cli.value_types import check_arguments

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    ROOT / "benchmarks" / "README.md",
    *ROOT.glob("conf/**/*.yaml"),
]
COMMAND = re.compile(r"python -m ((?:segment|benchmarks)(?:\.\w+)+)([^`\n]*)")
HYDRA = {path.stem for path in Path(CONF_DIR).glob("*.yaml")}


def commands() -> Iterator[str]:
    """Yield the command lines as they are written, from the module on and without comments."""
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))  # continued lines
        for module, rest in COMMAND.findall(text):
            if page.suffix == ".yaml":  # the rest of a shell loop, and the explanations of --help
                rest = re.split(r" \|\| |  +[^-\s]", rest.replace("${net}", "8s"))[0]
            yield " ".join([module, *shlex.split(rest, comments=True, posix=False)])


COMMANDS = sorted(set(commands()))
COMPOSED = [line for line in COMMANDS if line.partition(" ")[0].removeprefix("segment.") in HYDRA]
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


@pytest.mark.parametrize("line", COMPOSED)
def test_a_command_composes(line, tmp_path):
    module, *options = shlex.split(line)
    arguments = [option for option in options if option not in {"-m", "...", "--help"}]
    if "--config-dir" in arguments:
        position = arguments.index("--config-dir")
        arguments[position : position + 2] = [f"hydra.searchpath=[file://{own_parts(tmp_path)}]"]
    if module == "segment.evaluate" and not any(argument.startswith("data=") for argument in arguments):
        ConfigStore.instance().store(group="data", name="checkpoint", node=plain(load_config(["data=voc"]).data))
        arguments.append("data=checkpoint")
    for overrides in single_runs(arguments):
        config = load_config(overrides, module.removeprefix("segment."))
        assert not options or not OmegaConf.missing_keys(config)  # a command without options is only mentioned
        check_arguments(plain(config))


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"], ids=lambda page: page.name)
def test_paths_in_this_repository_exist(page):
    paths = re.findall(r"`((?:segment|conf|tests|benchmarks|notebooks|docs)/[\w/.]*)`", page.read_text("utf-8"))
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


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
