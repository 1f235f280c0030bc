"""How Sphinx makes the site: `make docs`. Sources are the repository's own pages, so that their links hold in both.

Nothing of the site is fetched from the network when it is read: theme, search and pictures lie beside the pages.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import chanc

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.append(str(Path(__file__).parent))  # for command_line

project = "chanc"
version = release = chanc.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The sources' root is the repository, of which these are pages.
include_patterns = ["docs/**.md", "benchmarks/results/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "chanc", "passes", "frontends", "tests", "build", "demo", "runs", "data", "**/*.egg-info"]
root_doc = "docs/index"

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
# What stands between single backticks in a docstring is code; "--data" has two dashes.
default_role = "code"
smartquotes = False

html_theme = "furo"
html_title = "chanc"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
# Who opens the folder of the site finds the first page.
html_extra_path = ["site"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_maximum_signature_line_length = 100


def _prepared(app: Sphinx, name: str, source: list[str]) -> None:
    """A page as the site has it: with what `--help` says on that of the command line, without links to folders."""
    if name == "docs/reference/cli":
        from command_line import commands

        source[0] += commands()
    home = Path(app.srcdir, name).parent
    source[0] = re.sub(
        r"(?<!!)\[([^\[\]]*)\]\(([\w./-]+)\)", lambda link: link[1] if (home / link[2]).is_dir() else link[0], source[0]
    )


def setup(app: Sphinx) -> None:
    """What Sphinx calls first."""
    app.connect("source-read", _prepared)
