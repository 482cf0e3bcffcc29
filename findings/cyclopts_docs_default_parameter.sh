#!/usr/bin/env bash
# The reference that cyclopts generates lists flags that the program refuses.
#
# Version: cyclopts 5.4.0, Python 3.11.
# Input: a program whose `default_parameter` says that flags have no negative form, and a command
# of two words (`tool files write`) with a flag of type bool.
# Expected: `App.generate_docs` lists the flags that `--help` lists: `--overwrite`.
# Seen: `--help` lists `--overwrite` alone, and `--no-overwrite` is an error, as it should be; the
# generated Markdown, reStructuredText and HTML list `--overwrite, --no-overwrite`. The generator
# describes a command with the defaults of the app just above it only; commands of one word are right.
# In phenomae: the pages of commands are generated within `app.app_stack`, where the defaults hold.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet cyclopts==5.4.0
"$folder/env/bin/python" - <<'PROGRAM'
import contextlib
import io
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError, Parameter

app = App(name="tool", default_parameter=Parameter(negative=()), result_action="return_value")

files = App(name="files")
app.command(files)


@files.command
def write(*, overwrite: bool = False) -> None:
    """Write a file.

    Parameters
    ----------
    overwrite
        Replace the file.
    """


printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    app(["files", "write", "--help"])
try:
    app.parse_args(["files", "write", "--no-overwrite"], exit_on_error=False, print_error=False)
    refused = False
except CycloptsError:
    refused = True
flag = "--no-overwrite"
kinds = ("markdown", "rst", "html")
in_docs = [kind for kind in kinds if flag in app.generate_docs(output_format=kind)]
print(f"cyclopts {version('cyclopts')}: {flag} is refused: {refused},", end=" ")
print(f"in --help: {flag in printed.getvalue()}, in generated docs: {', '.join(in_docs)}")
sys.exit(0 if refused and flag not in printed.getvalue() and len(in_docs) == 3 else 1)
PROGRAM
