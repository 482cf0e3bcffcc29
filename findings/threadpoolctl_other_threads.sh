#!/usr/bin/env bash
# threadpoolctl 3.8 ignores a limit, or its end, that comes from another thread than the limit before.
#
# Versions: threadpoolctl 3.8.0 beside 3.6.0, numpy 2.4.6 (OpenBLAS 0.3.31 with pthreads), Python 3.11;
# needs two cores.
# Expected: contexts of `limit` in two threads, of which the first to begin is not the last to end, can be
# counted under a lock: the last one restores the number of threads with the limiter of the first.
# Seen: with 3.8.0 that does nothing, without a word, and the process stays at one thread; with 3.6.0 it restores.
# In 3.8 the thread that set a limit on OpenBLAS owns the number until a context of its own ends.
# In phenomae: the app searches in several threads. `one_blas_thread` (blas.py) counts its users, and gives
# the ownership back after each call; tests/test_blas.py.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
cat > "$folder/program.py" <<'PROGRAM'
from threading import Thread

import numpy
import threadpoolctl

numpy.zeros(1)  # loads OpenBLAS
libraries = threadpoolctl.ThreadpoolController()


def threads():
    return libraries.info()[0]["num_threads"]


before = threads()
limiter = libraries.limit(limits=1, user_api="blas")
other = Thread(target=limiter.restore_original_limits)
other.start()
other.join()
print(before, threads())
PROGRAM
for version in 3.6.0 3.8.0; do
    "$folder/env/bin/pip" install --quiet numpy==2.4.6 "threadpoolctl==$version"
    read -r before after <<< "$("$folder/env/bin/python" "$folder/program.py")"
    echo "threadpoolctl $version: $before threads, limited to 1, restored from another thread: $after"
    if [ "$before" -lt 2 ]; then
        echo "one core: the difference cannot be shown on it"
        exit 0
    fi
    declare "seen_${version//./_}=$after"
done
[ "$seen_3_6_0" -gt 1 ] && [ "$seen_3_8_0" -eq 1 ]
