#!/usr/bin/env bash
# Snakemake deletes a finished folder before the job that would have found it finished.
#
# Version: snakemake 9.27.1, Python 3.11.
# Input: two jobs that fill a folder together, each its half, and a last one that has the folder as its
# output (`directory`) and would only find it finished; Snakemake knows no other way to say that
# several jobs make one output.
# Expected: the last job finds the folder, since nothing in the rules says that it is to be removed.
# Seen: the folder is deleted before the command of the last job starts; the only line about it is a
# warning that the output was "not present when the DAG was created". The command then does all
# work again, alone, and the workflow ends well: with phenomae, the store of all shards would be
# made twice. A file in the folder as the output is no way out: it is deleted too, and without its
# signature the folder is a foreign one. With `update` the folder is kept, and copied before each run.
# A training that fails or is stopped loses its folder in the same way, with its checkpoints.
# In phenomae: no output of phenomae is an output of a rule in workflows/Snakefile.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
cat > Snakefile <<'RULES'
rule finish:
    input: "shard-1", "shard-2"
    output: directory("store")
    shell: "if test -d store; then ls store; else mkdir store; echo all again > store/work; fi"

rule shard:
    output: touch("shard-{number}")
    shell: "mkdir -p store; echo work > store/{wildcards.number}"
RULES
env/bin/snakemake --cores 1 > printed 2>&1
grep "not present when the DAG was created" printed
echo "store has: $(ls store)"
test "$(cat store/*)" = "all again"
if grep -i "delet\|remov" printed; then
    echo "this has changed: it says so"
    exit 1
fi
