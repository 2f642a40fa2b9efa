"""The loop over images: what is printed for one that is skipped."""

import pytest

from segment.errors import SegmentError
from segment.prediction.image_loop import process_inputs
from segment.prediction.output_files import OutputFiles


@pytest.mark.parametrize("reason", ["polygon=[]: it has no pixel", "cannot read the image {path}: it is empty"])
def test_the_line_about_a_skipped_image_names_it_once(tmp_path, capfd, reason):
    path = tmp_path / "a.png"
    path.touch()

    def process(*_):
        raise SegmentError(reason.format(path=path))

    assert process_inputs({path: OutputFiles(tmp_path / "a", [])}, "", process, lambda *_: False) == (0, 0)
    printed = capfd.readouterr().err
    assert printed.count(str(path)) == 1
    assert reason.partition("{")[0] in printed
