// kendall: in how many pairs of rows two columns disagree, and in how many neither ties, for tiles of pairs of columns.
//
//   disagree(i, j) = popcount((strict_i ^ strict_j) & apart_i & apart_j)      counted(i, j) = popcount(apart_i & apart_j)
//
//   0  params  uniform
//   1  strict  read        row_quads vec4 a column, as `row_pairs` writes them
//   2  apart   read        the same
//   3  tiles   read        first column of either side of every tile, in tiles of TILE columns
//   4  counts  read_write  by slice, tile, column of right, column of left: disagree (low, high), counted (low, high)
//   grid: one workgroup for each tile and slice of the words, flattened over two dimensions
//
// A workgroup of 16 x 16 threads holds one tile of 64 x 64 pairs over one slice of the words. It walks along them in stages
// of 16: each thread fetches a 4 x 4 block of one of the four planes (either side, strict and apart) and turns it, so that the
// count reads whole vec4 of columns. Each thread owns 4 x 4 pairs.
//
// Numbers: whole numbers. A slice has fewer than 2^27 words, so that its counts fit 32 bits; they are added in 64.
// Trips: 1 + STAGE for each stage, counted by the host, which keeps them under 60,000.

struct Params {
    n_columns: u32,
    row_quads: u32,     // vec4 from one column to the next
    n_tiles: u32,
    n_slices: u32,
    slice_stages: u32,  // stages of a slice; the last ends with the words
    n_stages: u32,      // stages of all slices
    accumulate: u32,    // 1: add to what `counts` holds
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> strict: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> apart: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> tiles: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> counts: array<vec4<u32>>;

const TILE: u32 = 64u;
const QUADS: u32 = TILE / 4u;
const STAGE: u32 = 16u;
const STAGE_QUADS: u32 = STAGE / 4u;
const PLANE: u32 = STAGE * QUADS;

// Planes one after another: strict and apart of left, strict and apart of right; word by word, columns next to each other.
var<workgroup> stage_words: array<vec4<u32>, 4u * PLANE>;

fn words_of(is_apart: bool, column: u32, at: u32) -> vec4<u32> {
    if (column >= params.n_columns) {
        return vec4<u32>();
    }
    if (is_apart) {
        return apart[column * params.row_quads + at];
    }
    return strict[column * params.row_quads + at];
}

fn add(to: vec2<u32>, count: u32) -> vec2<u32> {
    let low = to.x + count;
    return vec2<u32>(low, to.y + u32(low < count));
}

fn put(at: u32, disagree: vec4<u32>, counted: vec4<u32>) {
    for (var k = 0u; k < 4u; k++) {
        let held = select(vec4<u32>(), counts[at + k], params.accumulate == 1u);
        counts[at + k] = vec4<u32>(add(held.xy, disagree[k]), add(held.zw, counted[k]));
    }
}

@compute @workgroup_size(16, 16)
fn kendall(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let flat = flat_group(group, n_groups);
    if (flat >= params.n_tiles * params.n_slices) {
        return;
    }
    let tile = tiles[flat % params.n_tiles];
    let slice = flat / params.n_tiles;

    // The block that this thread fetches: 64 threads a plane, neighbours take neighbouring columns.
    let plane = lane / 64u;
    let quad = lane % QUADS;
    let words = (lane / QUADS) % STAGE_QUADS;
    let column = select(tile.x, tile.y, plane >= 2u) * TILE + quad * 4u;
    let is_apart = plane % 2u == 1u;
    let place = plane * PLANE + words * 4u * QUADS + quad;

    var disagree = array<vec4<u32>, 4>();
    var counted = array<vec4<u32>, 4>();
    let first = slice * params.slice_stages;
    let end = min(first + params.slice_stages, params.n_stages);
    for (var stage = first; stage < end; stage++) {
        let at = stage * STAGE_QUADS + words;
        let a = words_of(is_apart, column, at);
        let b = words_of(is_apart, column + 1u, at);
        let c = words_of(is_apart, column + 2u, at);
        let d = words_of(is_apart, column + 3u, at);
        // Every thread has read the stage before this one.
        workgroupBarrier();
        stage_words[place] = vec4<u32>(a.x, b.x, c.x, d.x);
        stage_words[place + QUADS] = vec4<u32>(a.y, b.y, c.y, d.y);
        stage_words[place + 2u * QUADS] = vec4<u32>(a.z, b.z, c.z, d.z);
        stage_words[place + 3u * QUADS] = vec4<u32>(a.w, b.w, c.w, d.w);
        // The stage is complete.
        workgroupBarrier();
        for (var word = 0u; word < STAGE; word++) {
            let row = word * QUADS;
            let left_strict = stage_words[row + thread.x];
            let left_apart = stage_words[PLANE + row + thread.x];
            let right_strict = stage_words[2u * PLANE + row + thread.y];
            let right_apart = stage_words[3u * PLANE + row + thread.y];
            let apart_0 = left_apart & vec4<u32>(right_apart.x);
            let apart_1 = left_apart & vec4<u32>(right_apart.y);
            let apart_2 = left_apart & vec4<u32>(right_apart.z);
            let apart_3 = left_apart & vec4<u32>(right_apart.w);
            counted[0] += countOneBits(apart_0);
            counted[1] += countOneBits(apart_1);
            counted[2] += countOneBits(apart_2);
            counted[3] += countOneBits(apart_3);
            disagree[0] += countOneBits((left_strict ^ vec4<u32>(right_strict.x)) & apart_0);
            disagree[1] += countOneBits((left_strict ^ vec4<u32>(right_strict.y)) & apart_1);
            disagree[2] += countOneBits((left_strict ^ vec4<u32>(right_strict.z)) & apart_2);
            disagree[3] += countOneBits((left_strict ^ vec4<u32>(right_strict.w)) & apart_3);
        }
    }

    let to = flat * TILE * TILE + thread.y * 4u * TILE + thread.x * 4u;
    put(to, disagree[0], counted[0]);
    put(to + TILE, disagree[1], counted[1]);
    put(to + 2u * TILE, disagree[2], counted[2]);
    put(to + 3u * TILE, disagree[3], counted[3]);
}
