#!/usr/bin/env bash
# Features without learning, untrained and trained networks on real cells: one table with intervals.
#
#     benchmarks/real_cells.sh bbbc021 FOLDER OUT             cells of 103 treatments, 12 mechanisms
#     benchmarks/real_cells.sh mitocheck FOLDER OUT           nuclei of 16 classes on 67 plates
#     benchmarks/real_cells.sh rxrx1 FOLDER OUT               tiles of 4 cell types on 18 plates
#     benchmarks/real_cells.sh bbbc013 FOLDER OUT             a plate of 96 wells, two dose series
#     benchmarks/real_cells.sh mitocheck FOLDER OUT spectra intensity      only these rows
#
# FOLDER is described in real_cells/lay_out.py; of BBBC013, it is the raw folder of the recipe bbbc013.
# Rows that begin with trained are trained for three seeds, minutes each. Everything in OUT is kept: a
# second call continues where the first stopped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
python=${PYTHON:-python3}
untrained="spectra random-layer intensity count position random-network random-network-spread \
linear-network"
turns="random-layer-turns random-network-turns"
if [ $# -lt 3 ]; then
    echo "real_cells.sh needs a set, its folder and a folder to write: bbbc021 FOLDER OUT" >&2
    exit 1
fi
set_name=$1 folder=$2 out=$3
shift 3
recipe=$root/src/phenomae/recipes/$set_name.toml
# What is trained on energies has the settings of mitocheck-energies, but for bbbc021.
energies=$root/src/phenomae/recipes/mitocheck-energies.toml classes=$root/src/phenomae/recipes/mitocheck-classes.toml
[ "$set_name" != bbbc021 ] || energies=$root/src/phenomae/recipes/bbbc021-pairs.toml
case $set_name in
bbbc021 | mitocheck | rxrx1) labels=$folder/labels.csv ;;
bbbc013) labels=$folder/1049_Metadata.csv ;;
*)
    echo "there is no set '$set_name': sets are bbbc021, mitocheck, rxrx1, bbbc013" >&2
    exit 1
    ;;
esac
if [ ! -f "$labels" ]; then
    echo "$labels: there is no such file, so $folder is not the folder of $set_name" >&2
    exit 1
fi
all="$untrained $turns trained-energies"
case $set_name in
bbbc021) all="$all trained-pairs" ;;
mitocheck) all="$all trained-classes" ;;
esac
rows=${*:-$all}
for row in $rows; do
    case " $all " in
    *" $row "*) ;;
    *)
        echo "there is no row '$row' of $set_name: rows are ${all// /, }" >&2
        exit 1
        ;;
    esac
done
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"

phenomae() { "$python" -m phenomae --quiet "$@"; }

# Commands whose table is not needed here, as it is in the table at the end.
silently() { "$@" > /dev/null; }

# What is trained, and its network at random, is embedded with eight turns, and means and standard
# deviations of tokens: what helps features at random most.
train() { # NAME SEED and flags
    local run=$out/runs/$1 seed=$2
    shift 2
    phenomae pretrain energy-mae "$out/store" "$run" --config "$energies" --seed "$seed" "$@"
}

make_wells() { # ROW SEED WELLS
    local wells=$3 name=$1-$2
    case $1 in
    position)
        if [ "$set_name" = bbbc013 ]; then
            phenomae features "$out/store" "$wells" --kind position
        else
            "$python" "$here/real_cells/real_position.py" "$out/raw/plate_map.csv" "$wells"
        fi
        ;;
    random-layer) phenomae features "$out/store" "$wells" --kind random-layer --seed "$2" ;;
    random-network)
        phenomae embed "$out/store" "random:$out/run" "$wells" --seed "$2" --config "$recipe"
        ;;
    random-network-spread)
        phenomae embed "$out/store" "random:$out/run" "$wells" --seed "$2" --pool mean-std \
            --config "$recipe"
        ;;
    random-layer-turns)
        phenomae features "$out/store" "$wells" --kind random-layer --turns 8 --seed "$2"
        ;;
    random-network-turns)
        # The network of the rows that are trained on energies.
        train untrained-energies 0 --pair-weight 0 --steps 0
        phenomae embed "$out/store" "random:$out/runs/untrained-energies" "$wells" --seed "$2" \
            --config "$energies"
        ;;
    trained-energies | trained-pairs)
        if [ "$1" = trained-pairs ]; then train "$name" "$2"; else train "$name" "$2" --pair-weight 0; fi
        phenomae embed "$out/store" "$out/runs/$name" "$wells" --config "$energies"
        ;;
    linear-network) phenomae embed "$out/store" "$out/run" "$wells" --config "$recipe" ;;
    *) phenomae features "$out/store" "$wells" --kind "$1" ;;
    esac
}

probe() { # WELLS ANSWER COLUMN ... and flags
    local wells=$1 answer=$2
    shift 2
    [ "$set_name" != bbbc021 ] || set -- "$@" --mechanisms "$out/raw/mechanisms.csv"
    # One thread, as threads wait for each other longer than such small matrices take.
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
        silently phenomae ask probe "$wells" "$answer" --config "$recipe" --leave-out "$@"
}

answer() { # NAME
    local wells=$out/wells/$1 corrected=$out/corrected/$1 answers=$out/answers/$1
    mkdir -p "$out/corrected" "$answers"
    case $set_name in
    bbbc021)
        mkdir -p "$out/whitened"
        phenomae correct "$wells" "$corrected" --config "$recipe"
        local whitening="pca-center-scale(components=50)"
        case $1 in intensity | count | position) whitening=pca-center-scale ;; esac # they are few
        phenomae correct "$wells" "$out/whitened/$1" --config "$recipe" --method "$whitening"
        for kind in corrected whitened; do
            silently phenomae ask mechanisms "$out/$kind/$1" "$answers/mechanisms-$kind" \
                --mechanisms "$out/raw/mechanisms.csv"
        done
        probe "$wells" "$answers/plate" plate --folds 10
        probe "$wells" "$answers/compound" compound
        probe "$wells" "$answers/compound-batch" compound batch
        ;;
    mitocheck | rxrx1) probe "$wells" "$answers/plate" plate ;;
    bbbc013) phenomae correct "$wells" "$corrected" --config "$recipe" ;;
    esac
}

# A network for each of five folds of plates, as its labels are the classes to be predicted. It begins
# with the network that was trained without labels.
train_classes() { # NAME SEED
    local first=$out/wells/random-network-turns-0 init=trained-energies-$2
    make_wells random-network-turns 0 "$first"
    mkdir -p "$out/answers/folds"
    probe "$first" "$out/answers/folds/plate" plate --folds 5
    train "$init" "$2" --pair-weight 0
    "$python" "$here/real_cells/train_by_fold.py" "$out" folds "$1" --config "$classes" --seed "$2" \
        --init "$out/runs/$init"
}

raw=$folder
if [ "$set_name" != bbbc013 ]; then
    raw=$out/raw
    "$python" "$here/real_cells/lay_out.py" "$set_name" "$folder" "$raw"
fi
phenomae ingest "$raw" "$out/store" --config "$recipe"
# LayerScale is 1e-4 in it, which makes it nearly linear; `random:` draws weights at LayerScale 1.
phenomae pretrain vit-mae "$out/store" "$out/run" --config "$recipe" --steps 0
mkdir -p "$out/wells"
names=()
for row in $rows; do
    seeds=-
    case $row in random-* | trained-*) seeds="0 1 2" ;; esac
    for seed in $seeds; do
        name=$row
        [ "$seed" = - ] || name=$row-$seed
        if [ "$row" = trained-classes ]; then
            train_classes "$name" "$seed"
        else
            make_wells "$row" "$seed" "$out/wells/$name"
            answer "$name"
        fi
        names+=("$name")
    done
done
"$python" "$here/real_cells/table.py" "$set_name" "$out" "${names[@]}" | tee "$out/table.md"
