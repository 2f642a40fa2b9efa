"""The documentation site: ``make docs`` builds it into build/site."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # of the extension beside this file

# The notebooks run while the site is built: with this checkout, this Python, and without a network.
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "")
profile = tempfile.TemporaryDirectory()
os.environ["IPYTHONDIR"] = profile.name
startup = Path(profile.name, "profile_default", "startup")
startup.mkdir(parents=True)
shutil.copy(HERE / "startup.py", startup)

project = "segment"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline", "options"]
exclude_patterns = ["**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
smartquotes = False  # commands are copied from the pages
suppress_warnings = ["config.cache"]
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_render_markdown_format = "myst"  # with tables
nb_output_stderr = "remove"  # such as notes on the environment
nb_merge_streams = True  # else each line of a command is a block of its own

autodoc_inherit_docstrings = False
napoleon_use_ivar = True
autodoc_member_order = "groupwise"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
add_module_names = False

html_theme = "furo"
html_title = "segment"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
