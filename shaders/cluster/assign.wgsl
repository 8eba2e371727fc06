// assign: the best centre of every point, its score and the second best score, without a matrix of scores.
//
//   score(point, centre) = sum over cells of point * centre - |centre|^2 / 2        largest where the centre is nearest
//
//   0  params    uniform
//   1  points    read        quads vec4 a point, one point after another; cells are padded with 0 to 4
//   2  centres   read        the same
//   3  halves    read        half of each centre's squared norm
//   4  screened  read_write  by quad of points: labels, best and second scores of the four
//   grid: one workgroup for each TILE points, flattened over two dimensions
//
// A workgroup takes one tile of centres after another (see common/gram_tile.wgsl; left are points, right are centres, rows are
// cells); each thread keeps the best of its centres for its four points, and the sixteen threads of a quad compare theirs at the end.
//
// Numbers: the error of a product is at most (258 + runs) * 2^-24 * sum |point * centre|; the host settles what is close.
// Trips: for each tile of centres 1 + STAGE / 4 for each stage and 4, counted by the host, which keeps them under 60,000.

struct Params {
    n_points: u32,
    n_centres: u32,
    quads: u32,         // vec4 of a point
    n_stages: u32,
    first_group: u32,
    n_groups: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> points: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> centres: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> halves: array<f32>;
@group(0) @binding(4) var<storage, read_write> screened: array<vec4<u32>>;

const LOWEST: f32 = -3.4e38;

fn left_rows(column: u32, at: u32) -> vec4<f32> {
    if (column >= params.n_points || at >= params.quads) {
        return vec4<f32>();
    }
    return points[column * params.quads + at];
}

fn right_rows(column: u32, at: u32) -> vec4<f32> {
    if (column >= params.n_centres || at >= params.quads) {
        return vec4<f32>();
    }
    return centres[column * params.quads + at];
}

struct Best {
    label: vec4<u32>,
    best: vec4<f32>,
    second: vec4<f32>,
}

fn compete(held: Best, label: u32, products: vec4<f32>) -> Best {
    if (label >= params.n_centres) {
        return held;
    }
    let score = products - vec4<f32>(halves[label]);
    let is_better = score > held.best;
    return Best(
        select(held.label, vec4<u32>(label), is_better),
        max(held.best, score),
        select(max(held.second, score), held.best, is_better),
    );
}

@compute @workgroup_size(16, 16)
fn assign(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = params.first_group + flat_group(group, n_groups);
    if (tile >= params.first_group + params.n_groups) {
        return;
    }
    var held = Best(vec4<u32>(), vec4<f32>(LOWEST), vec4<f32>(LOWEST));
    let n_tiles = (params.n_centres + TILE - 1u) / TILE;
    for (var of_centres = 0u; of_centres < n_tiles; of_centres++) {
        let products = tile_products(tile, of_centres, 0u, params.n_stages, thread, lane).q00;
        let label = of_centres * TILE + thread.y * 4u;
        held = compete(held, label, products[0]);
        held = compete(held, label + 1u, products[1]);
        held = compete(held, label + 2u, products[2]);
        held = compete(held, label + 3u, products[3]);
    }
    // Every thread has read the last stage.
    workgroupBarrier();
    let place = thread.y * QUADS + thread.x;
    left_stage[place] = held.best;
    left_stage[place + 16u * QUADS] = held.second;
    right_stage[place] = bitcast<vec4<f32>>(held.label);
    workgroupBarrier();
    if (lane < QUADS) {
        var found = Best(bitcast<vec4<u32>>(right_stage[lane]), left_stage[lane], left_stage[lane + 16u * QUADS]);
        for (var y = 1u; y < 16u; y++) {
            let other = y * QUADS + lane;
            let best = left_stage[other];
            let is_better = best > found.best;
            found = Best(
                select(found.label, bitcast<vec4<u32>>(right_stage[other]), is_better),
                max(found.best, best),
                max(max(found.second, left_stage[other + 16u * QUADS]), min(found.best, best)),
            );
        }
        let to = (tile * QUADS + lane) * 3u;
        screened[to] = found.label;
        screened[to + 1u] = bitcast<vec4<u32>>(found.best);
        screened[to + 2u] = bitcast<vec4<u32>>(found.second);
    }
}
