#!/usr/bin/env bash
# Panel's Location.sync loses all parameters of an address if one word looks like a number.
#
# Versions: Panel 1.9.4, param 2.4.2, Bokeh 3.9.2, Python 3.11, Linux.
# Expected: a parameter of type String takes the word of the address as text: ?gene=007 is the gene
# 007. If one word cannot be used, the others still are.
# Seen: words are read as JSON before the type of the parameter is asked. 007, 1e5 and true become
# numbers or a Boolean, which param.String refuses; the whole update is then dropped (with on_error
# unset: silently), so that a link opens an empty page. Genes, compounds and plates have such names.
# In phenomae: the app `explore` reads and writes its address itself (explorer/state.py); a test
# opens links to such names in a browser.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet panel==1.9.4 param==2.4.2 bokeh==3.9.2
"$folder/env/bin/python" - <<'PROGRAM'
import sys

import param
from panel.io.location import Location


class State(param.Parameterized):
    gene = param.String("")
    view = param.String("")


seen = []
for query in ("?gene=TP53&view=cells", "?gene=1e5&view=cells", "?gene=true&view=cells"):
    location, state = Location(search=query), State()
    location.sync(state, ["gene", "view"])
    seen.append((state.gene, state.view))
    print(f"{query:24} gives gene {state.gene!r}, view {state.view!r}")
sys.exit(seen != [("TP53", "cells"), ("", ""), ("", "")])
PROGRAM
