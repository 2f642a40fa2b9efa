"""Every file of a run folder has one path, and only files of this package are deleted."""

from pathlib import Path

from segment.records.folder import RunFolder


def test_all_paths_lie_in_the_folder(tmp_path):
    folder = RunFolder(str(tmp_path))
    paths = [value for key, value in vars(folder).items() if key != "path"]
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert len({*paths}) == len(paths)
    assert folder.best_checkpoint == tmp_path / "checkpoints" / "best.ckpt"


def test_the_folder_of_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert RunFolder.of_checkpoint(folder.last_checkpoint) == folder
    folder.checkpoints.mkdir(parents=True)
    folder.last_checkpoint.touch()
    link = tmp_path / "linked.ckpt"
    link.symlink_to(folder.last_checkpoint)
    assert folder.holds(link)
    assert not RunFolder(tmp_path).holds(link)


def test_folders_are_equal_by_their_real_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunFolder("a") == RunFolder(tmp_path / "b" / ".." / "a")
    assert len({RunFolder("a"), RunFolder(tmp_path / "a")}) == 1
    assert RunFolder("a") != Path("a")


def test_a_run_is_a_folder_with_metrics_a_job_or_a_checkpoint(tmp_path):
    for number, name in enumerate(("metrics", "job_status", "last_checkpoint")):
        folder = RunFolder(tmp_path / str(number))
        assert not folder.is_run
        path = getattr(folder, name)
        path.parent.mkdir(parents=True)
        path.touch()
        assert folder.is_run


def test_only_the_metrics_and_pictures_of_an_earlier_run_are_deleted(tmp_path):
    folder = RunFolder(tmp_path)
    folder.clear_results()  # an empty folder is no error
    folder.predictions.mkdir()
    own = [folder.metrics, folder.predictions / "00000.png"]
    kept = [folder.metrics_csv, folder.provenance, tmp_path / "notes.txt", folder.predictions / "notes.txt"]
    for path in own + kept:
        path.touch()
    folder.clear_results()
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in kept)
