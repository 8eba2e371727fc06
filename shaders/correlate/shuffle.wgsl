// shuffle: puts the units of every stratum of every column of every turn into any order (Fisher and Yates).
//
//   0  params    uniform
//   1  strata    read        start, end, rows of a unit, first word of the stream
//   2  streams   read        index of each column's stream
//   3  arranged  read_write  turn by turn, column by column, `stride` cells each
//   grid: one thread for each column of each turn, flattened over two dimensions
//
// A dispatch takes strata first_stratum..end_stratum, and of each the steps first_step..end_step: step k draws what comes to
// the k-th place from the end. The host cuts them so that an invocation stays under 60,000 trips.

struct Params {
    stride: u32,
    n_columns: u32,
    n_turns: u32,
    first_turn: u32,
    seed_low: u32,
    seed_high: u32,
    first_stratum: u32,
    end_stratum: u32,
    first_step: u32,
    end_step: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> strata: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> streams: array<u32>;
@group(0) @binding(3) var<storage, read_write> arranged: array<f32>;

@compute @workgroup_size(64)
fn shuffle(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = flat_group(group, n_groups) * 64u + lane;
    let turn = at / params.n_columns;
    if (turn >= params.n_turns) {
        return;
    }
    let stream = streams[at % params.n_columns];
    let seed = vec2<u32>(params.seed_low, params.seed_high);
    let base = at * params.stride;
    for (var s = params.first_stratum; s < params.end_stratum; s++) {
        let stratum = strata[s];
        let unit = stratum.z;
        let n_units = (stratum.y - stratum.x) / unit;
        let end = min(params.end_step, max(n_units, 1u) - 1u);
        var words = vec4<u32>();
        for (var step = params.first_step; step < end; step++) {
            let word = stratum.w + step;
            if (step == params.first_step || word % 4u == 0u) {
                words = permutation_words(word / 4u, stream, params.first_turn + turn, seed);
            }
            let last = n_units - 1u - step;
            let other = high(words[word % 4u], last + 1u);
            let a = base + stratum.x + last * unit;
            let b = base + stratum.x + other * unit;
            for (var row = 0u; row < unit; row++) {
                let held = arranged[a + row];
                arranged[a + row] = arranged[b + row];
                arranged[b + row] = held;
            }
        }
    }
}
