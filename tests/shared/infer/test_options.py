"""What the words on the command line mean."""

import pytest

from shared.infer.options import size, span


def test_a_size_is_height_and_width():
    assert size("1024x768") == size("1024X768") == (1024, 768)
    for text in ("0x5", "axb", "-1x5", "1x2x3"):
        with pytest.raises(ValueError, match="is not a size"):
            size(text)


def test_a_span_is_two_distances_the_nearer_first():
    assert span("2,3.5") == (2, 3.5)
    for text in ("2", "3,2", "0,1", "a,b", "1,inf", "nan,2"):
        with pytest.raises(ValueError, match="is no span"):
            span(text)
