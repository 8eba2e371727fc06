// arrange: a copy of every column for every turn, its strata shifted in a circle where time is kept.
//
//   0  params     uniform
//   1  cells      read        column by column, `stride` cells each, 0 beyond the last row
//   2  strata     read        start, end, rows of a unit, first word of the stream
//   3  stratum_of read        stratum of each row; one word where nothing is shifted
//   4  streams    read        index of each column's stream
//   5  arranged   read_write  turn by turn as `cells`
//   grid: one thread for each cell of each turn, flattened over two dimensions

struct Params {
    n_rows: u32,
    stride: u32,
    n_columns: u32,
    n_turns: u32,
    first_turn: u32,
    seed_low: u32,
    seed_high: u32,
    shifts: u32,        // 1: strata are shifted
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> cells: array<f32>;
@group(0) @binding(2) var<storage, read> strata: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> stratum_of: array<u32>;
@group(0) @binding(4) var<storage, read> streams: array<u32>;
@group(0) @binding(5) var<storage, read_write> arranged: array<f32>;

@compute @workgroup_size(256)
fn arrange(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = flat_group(group, n_groups) * 256u + lane;
    let of_turn = params.n_columns * params.stride;
    let turn = at / of_turn;
    if (turn >= params.n_turns) {
        return;
    }
    let from_turn = at % of_turn;
    let column = from_turn / params.stride;
    let row = from_turn % params.stride;
    var source = row;
    if (params.shifts == 1u && row < params.n_rows) {
        let stratum = strata[stratum_of[row]];
        let n = stratum.y - stratum.x;
        let words = permutation_words(stratum.w / 4u, streams[column], params.first_turn + turn, vec2<u32>(params.seed_low, params.seed_high));
        let by = high(words[stratum.w % 4u], n);
        let moved = row - stratum.x + by;
        source = stratum.x + select(moved, moved - n, moved >= n);
    }
    arranged[at] = cells[column * params.stride + source];
}
