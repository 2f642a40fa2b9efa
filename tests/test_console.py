"""Lines that are printed once, however many processes a command has."""

import pytest
from torch import distributed

from segment.console import RANK_KEYS, print_once


@pytest.mark.parametrize(
    ("environment", "printed"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "1"}, True),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_a_launcher_numbers_the_processes(environment, printed, monkeypatch, capsys):
    for key in RANK_KEYS:
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    print_once("a line")
    assert capsys.readouterr().out == "a line\n" * printed


@pytest.mark.parametrize("rank", [0, 2])
def test_torch_knows_the_number_once_the_processes_are_connected(rank, monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "0")  # the first on its machine need not be the first of all
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    print_once("a line")
    assert capsys.readouterr().out == "a line\n" * (rank == 0)
