"""segment.check writes its report, and ends with an error if there is a problem."""

import json

from tests.conftest import Run


def test_clean_and_faulty_data(folder_root, run: Run):
    words = ("data=folder", f"data.root={folder_root}", "data.classes=[a,b,c]", f"hydra.run.dir={folder_root}/report")
    clean = run("check", *words)
    assert "problems: none" in clean.stdout
    assert (folder_root / "report" / "check.png").stat().st_size > 5000
    (folder_root / "val/masks/1.png").unlink()
    image = folder_root / "train/images/2.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    broken = run("check", *words, check=False)
    assert broken.returncode == 1
    assert "error: found 2 problems that would spoil a training" in broken.stderr
    assert "Traceback" not in broken.stderr
    content = json.loads((folder_root / "report" / "check.json").read_text())
    assert [p["kind"] for p in content["problems"]] == ["unreadable image", "missing mask"]
    assert content["splits"]["train"]["pixels"]["a"] == 600
