"""Names of data sets, classes and files as text in Markdown, LaTeX and figures: names are untrusted."""

import html
import re

from segment.files import printable

TEX_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_"},
}  # fmt: skip


def escape_tex(text: str) -> str:
    """Escape text for LaTeX."""
    escaped = "".join(TEX_ESCAPES.get(character, character) for character in printable(text))
    # After a row break, LaTeX would read a bracket or a star as the argument of the break.
    return f"{{{escaped}}}" if escaped.startswith(("[", "*")) else escaped


def escape_markdown(text: str) -> str:
    """Escape text for Markdown and the HTML in it; ``a_b`` and ``[16,8]`` have no meaning there and stay as they are.

    Example:
        >>> print(escape_markdown("a|b_c <i> [x](y)"))
        a\\|b_c &lt;i&gt; [x\\](y)
    """
    plain = html.escape(printable(text), quote=False)
    return re.sub(r"[\\`*|~$]|^[#+-](?=\s)|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])|\](?=[(:\[])", r"\\\g<0>", plain)


def escape_figure(text: str) -> str:
    """Escape text for matplotlib, which would read text between two dollars as a formula."""
    return printable(text).replace("$", r"\$")
