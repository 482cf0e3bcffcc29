"""Settings of Sphinx for the site: `make docs` writes it to docs/_build/html.

The theme and the extensions are those of the template of scverse. The pages are plain Markdown;
what Markdown cannot say (tables of contents, reference pages) is made by `extensions/`.
"""

import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))
# lightning_fabric imports a package that warns on import.
warnings.filterwarnings("ignore", category=DeprecationWarning)

import phenomae  # noqa: E402

project = "phenomae"
author = "the authors of phenomae"
copyright = author
version = release = phenomae.__version__

extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "api_pages",
    "command_pages",
    "contents",
    "root_pages",
    "signatures",
]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "extensions", "**.ipynb_checkpoints"]
default_role = "literal"

autosummary_generate = False
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 72
napoleon_google_docstring = False
napoleon_use_rtype = False

myst_heading_anchors = 6
myst_enable_extensions = ["dollarmath"]
myst_url_schemes = ("http", "https", "mailto")
nb_execution_mode = "off"  # tests run the notebook; the site shows the outputs that it has
nb_merge_streams = True

html_theme = "sphinx_book_theme"
html_title = f"phenomae {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": False, "show_navbar_depth": 1}
pygments_style = "default"
copybutton_prompt_text = "$ "
