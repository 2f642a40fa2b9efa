"""The public names of ``segment.models``."""

import re
from pathlib import Path

import segment.models
from segment.cli.config import CONF_DIR

TARGETS = {
    target
    for group in ("model", "net")
    for path in Path(CONF_DIR, group).rglob("*.yaml")
    for target in re.findall(r"_target_: (\S+)", path.read_text())
}


def test_yaml_files_name_public_classes():
    assert len(TARGETS) > 10
    assert {target.rpartition(".")[0] for target in TARGETS} == {"segment.models"}
    assert {target.rpartition(".")[2] for target in TARGETS} <= {*segment.models.__all__}
