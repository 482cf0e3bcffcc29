#!/usr/bin/env bash
# Snakemake keeps a result that was made from an older input, if what marks the input is an empty file.
#
# Version: snakemake 9.27.1, Python 3.11.
# Input: a training that leaves a folder, and `touch("trained")`, the file that Snakemake's
# documentation advises where an output cannot be declared; a map that is made from the folder, with
# that file as its input. The training is run again with other steps, alone: as when the whole
# workflow is stopped after it. Then the map is asked for.
# Expected: `trained` is newer than the map, so that the map is made again, as by make.
# Seen: "Nothing to be done (all requested files are present and up to date)", and the map is that of
# the older training. Snakemake compares the checksums of small files that are newer, and those of
# two empty files are equal; --max-checksum-file-size 0 changes nothing. If the file has the checksum
# of what it stands for, the map is made again.
# In phenomae: the rules of workflows/Snakefile hand on copies of `artefact.json`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
cat > Snakefile <<'RULES'
rule map:
    input: "trained"
    output: "map"
    shell: "cp weights map"

rule train:
    output: touch("trained")
    params: steps=config["steps"]
    shell: "echo {params.steps} steps > weights"
RULES
make() {
    "$folder/env/bin/snakemake" --cores 1 "$@" > printed 2>&1
}
make map --config steps=1
sleep 1.1
make trained --config steps=2
test trained -nt map
make map --config steps=2
grep "Nothing to be done" printed
echo "weights: $(cat weights); map of: $(cat map)"
test "$(cat map)" = "1 steps"
make map --config steps=2 --max-checksum-file-size 0
test "$(cat map)" = "1 steps"
sed -i 's/touch("trained")/"trained"/; s/> weights"/> weights; sha256sum weights > trained"/' Snakefile
rm trained map
make map --config steps=1
sleep 1.1
make trained --config steps=2
make map --config steps=2
echo "with the checksum in the file, map of: $(cat map)"
test "$(cat map)" = "2 steps"
