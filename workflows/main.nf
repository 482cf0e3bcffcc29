// The demo (demo.py) for Nextflow: docs/scale.md, Workflows. Not run: it was written beside the
// Snakefile, and only its commands were checked (tests/test_workflows.py).
//
//     nextflow run workflows/main.nf --folder /shared/demo --shards 4 -resume
//
// Tasks write into one folder that all of them see, and not into their work folders: several shards
// fill one output, and a training that was stopped goes on in its folder. What tasks hand on is a
// copy of `artefact.json`, which has the checksums of the output; -resume compares its content.

params.folder = "${launchDir}/demo"  // an absolute path, of all outputs
params.seed = 0
params.simulate = '--level real'     // more settings of the command: the size of the screen
params.recipe = 'demo-energy-mae'
params.pretrain = ''                 // more settings of the command: --steps 600
params.shards = 2
params.threads = 2                   // of each task
params.means = '0:128'
params.correction = 'pca-center-scale(components=64)'
params.correction_of_few = 'pca-center-scale'
params.shuffle = 200
params.program = 'phenomae'

def kinds() {
    return ['random-layer', 'spectra', 'intensity', 'count', 'position']
}

def baselines() {
    return ['random-network', 'random-network-spread'] + kinds()
}

def wells_of(name) {
    return 'wells-' + name.replace('random-network', 'random').replace('-spread', '')
}

def correction_of(name) {
    if (name in ['count', 'position']) {
        return "'${params.correction_of_few}'"
    }
    def means = name in ['trained', 'random-network'] ? " --features ${params.means}" : ''
    return "'${params.correction}'${means}"
}

def network_of(network) {
    return network == 'trained' ? "'${params.folder}/run'" : "'random:${params.folder}/run' --seed ${params.seed}"
}

process simulate {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    val seed

    output:
    path 'raw.json'

    script:
    """
    ${params.program} simulate '${params.folder}/raw' ${params.simulate} --seed ${seed} --threads ${task.cpus}
    cp '${params.folder}/raw/artefact.json' raw.json
    """
}

process ingest_shard {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path raw
    each shard

    output:
    val shard

    script:
    """
    ${params.program} ingest '${params.folder}/raw' '${params.folder}/store' --shard ${shard}/${params.shards} --threads ${task.cpus}
    """
}

process ingest {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path raw
    val shards

    output:
    path 'store.json'

    script:
    """
    ${params.program} ingest '${params.folder}/raw' '${params.folder}/store' --shard 1/1 --threads ${task.cpus}
    cp '${params.folder}/store/artefact.json' store.json
    """
}

process pretrain {
    cpus params.threads
    memory 8.GB
    cache 'deep'

    input:
    path store

    output:
    path 'run.json'

    script:
    """
    ${params.program} pretrain energy-mae '${params.folder}/store' '${params.folder}/run' --config ${params.recipe} --seed ${params.seed} ${params.pretrain} --threads ${task.cpus}
    cp '${params.folder}/run/artefact.json' run.json
    """
}

process embed_shard {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path store
    path run
    each network
    each shard

    output:
    val shard

    script:
    """
    ${params.program} embed '${params.folder}/store' ${network_of(network)} '${params.folder}/wells-${network}' --config ${params.recipe} --pool mean-std --shard ${shard}/${params.shards} --threads ${task.cpus}
    """
}

process embed {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path store
    path run
    val shards
    each network

    output:
    path "wells-${network}.json"

    script:
    """
    ${params.program} embed '${params.folder}/store' ${network_of(network)} '${params.folder}/wells-${network}' --config ${params.recipe} --pool mean-std --shard 1/1 --threads ${task.cpus}
    cp '${params.folder}/wells-${network}/artefact.json' 'wells-${network}.json'
    """
}

process features {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path store
    each kind

    output:
    path "wells-${kind}.json"

    script:
    """
    ${params.program} features '${params.folder}/store' '${params.folder}/wells-${kind}' --kind ${kind} --shard 1/1 --threads ${task.cpus}
    cp '${params.folder}/wells-${kind}/artefact.json' 'wells-${kind}.json'
    """
}

process make_map {
    cpus 1
    memory 2.GB
    cache 'deep'

    input:
    path wells
    each name

    output:
    path "map-${name}.sha256"

    script:
    """
    ${params.program} correct '${params.folder}/${wells_of(name)}' '${params.folder}/corrected-${name}' --method ${correction_of(name)} --batch plate --threads ${task.cpus}
    ${params.program} map '${params.folder}/corrected-${name}' '${params.folder}/map-${name}.h5ad' --by gene --threads ${task.cpus}
    sha256sum '${params.folder}/map-${name}.h5ad' > 'map-${name}.sha256'
    """
}

process benchmark {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path maps

    output:
    path 'results.json'

    script:
    def others = baselines().collect { name -> "'${name}=${params.folder}/map-${name}.h5ad'" }.join(' ')
    """
    ${params.program} benchmark '${params.folder}/map-trained.h5ad' '${params.folder}/results' --annotations '${params.folder}/raw/relationships.csv' --shuffle ${params.shuffle} --baseline ${others} --threads ${task.cpus}
    cp '${params.folder}/results/artefact.json' results.json
    """
}

process report {
    cpus params.threads
    memory 4.GB
    cache 'deep'

    input:
    path results
    path maps

    output:
    path 'report.json'

    script:
    """
    ${params.program} report '${params.folder}/report' --run '${params.folder}/run' --results '${params.folder}/results' --map '${params.folder}/map-trained.h5ad' --wells '${params.folder}/corrected-trained' --store '${params.folder}/store' --annotations '${params.folder}/raw/relationships.csv' --threads ${task.cpus}
    cp '${params.folder}/report/artefact.json' report.json
    """
}

workflow {
    networks = ['trained', 'random']
    shards = (1..params.shards).toList()
    raw = simulate(params.seed)
    store = ingest(raw, ingest_shard(raw, shards).collect())
    run = pretrain(store)
    embedded = embed(store, run, embed_shard(store, run, networks, shards).collect(), networks)
    wells = embedded.mix(features(store, kinds())).collect()
    maps = make_map(wells, ['trained'] + baselines()).collect()
    report(benchmark(maps), maps)
}
