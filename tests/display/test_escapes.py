"""Names are escaped for each output format."""

import pytest

from segment.display.escapes import escape_figure, escape_markdown, escape_tex


def test_escape_tex():
    assert escape_tex("a_b & 5 % ± 1") == r"a\_b \& 5 \% $\pm$ 1"
    assert escape_tex("[16,8]") == "{[16,8]}"  # \\[16,8] would be the space below a row
    assert escape_tex("{~}^<>") == r"\{\textasciitilde{}\}\textasciicircum{}\textless{}\textgreater{}"
    assert escape_tex("*a\n") == r"{*a\textbackslash{}n}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("skip_strides=[16,8] #1", "skip_strides=[16,8] #1"),
        ("__a__ *b* `c` ~d~", r"\_\_a\_\_ \*b\* \`c\` \~d\~"),
        ("[x](javascript:y)", r"[x\](javascript:y)"),
        ("# a & <b>", r"\# a &amp; &lt;b&gt;"),
        ("a\nb", r"a\\nb"),
    ],
)
def test_escape_markdown(text, expected):
    assert escape_markdown(text) == expected


def test_escape_figure():
    assert escape_figure("a$b\n") == r"a\$b\n"
