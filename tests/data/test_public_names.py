"""The public names of segment.data."""

import segment.data


def test_every_public_name_can_be_imported():
    assert "VOCDataModule" in segment.data.__all__
    for name in segment.data.__all__:
        assert getattr(segment.data, name) is not None
