// permuted_gram: the largest |product| of every column with the columns of a tile, of the pairs of a family, turn by turn.
//
//   maxima(turn, tile, i) = max over columns j of the tile's right side, (i, j) in the family, of |sum over rows of column i * column j|
//
//   0  params   uniform
//   1  columns  read        turn by turn, column by column; each vec4 is four rows; rows are padded with 0 to 32
//   2  tiles    read        left and right of every tile, in tiles of TILE columns
//   3  family   read        one bit for each pair, mask_words for each right column; lanes are left columns
//   4  maxima   read_write  turn by turn, tile by tile, TILE / 4 vec4 each
//   grid: one workgroup for each tile of each turn, flattened over two dimensions
//
// A workgroup holds one tile: see common/gram_tile.wgsl. What it finds for a column of left is gathered in the stage of left.
//
// Numbers: the error of a product is at most (258 + runs) * 2^-24 * sum |left * right|.
// Trips: 1 + STAGE / 4 for each stage of STAGE rows, counted by the host, which keeps them under 60,000.

struct Params {
    n_columns: u32,
    stride: u32,        // vec4 from one column to the next
    n_stages: u32,
    n_tiles: u32,
    first_group: u32,   // tiles of turns before this dispatch
    end_group: u32,
    mask_words: u32,
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> columns: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> tiles: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> family: array<u32>;
@group(0) @binding(4) var<storage, read_write> maxima: array<vec4<f32>>;

// First vec4 of the turn.
var<private> base: u32;

fn left_rows(column: u32, at: u32) -> vec4<f32> {
    if (column >= params.n_columns) {
        return vec4<f32>();
    }
    return columns[base + column * params.stride + at];
}

fn right_rows(column: u32, at: u32) -> vec4<f32> {
    return left_rows(column, at);
}

// The sizes of four products of one right column, 0 where the pair is not in the family.
fn sizes(products: vec4<f32>, left: u32, right: u32) -> vec4<f32> {
    if (right >= params.n_columns) {
        return vec4<f32>();
    }
    let bits = family[right * params.mask_words + left / 32u] >> (left % 32u);
    return select(vec4<f32>(), abs(products), (vec4<u32>(bits) & vec4<u32>(1u, 2u, 4u, 8u)) != vec4<u32>());
}

fn largest(entries: mat4x4<f32>, left: u32, right: u32) -> vec4<f32> {
    let a = max(sizes(entries[0], left, right), sizes(entries[1], left, right + 1u));
    return max(a, max(sizes(entries[2], left, right + 2u), sizes(entries[3], left, right + 3u)));
}

@compute @workgroup_size(16, 16)
fn permuted_gram(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = params.first_group + flat_group(group, n_groups);
    if (at >= params.end_group) {
        return;
    }
    let tile = tiles[at % params.n_tiles];
    base = (at / params.n_tiles) * params.n_columns * params.stride;

    let sum = tile_products(tile.x, tile.y, 0u, params.n_stages, thread, lane);
    let left = tile.x * TILE + thread.x * 4u;
    let right = tile.y * TILE + thread.y * 4u;
    var near = largest(sum.q00, left, right);
    if (IS_WIDE) {
        near = max(near, largest(sum.q01, left, right + 64u));
    }
    // Every thread has read the last stage.
    workgroupBarrier();
    left_stage[thread.y * QUADS + thread.x] = near;
    if (IS_WIDE) {
        left_stage[thread.y * QUADS + thread.x + 16u] = max(largest(sum.q10, left + 64u, right), largest(sum.q11, left + 64u, right + 64u));
    }
    workgroupBarrier();
    if (lane < QUADS) {
        var found = left_stage[lane];
        for (var y = 1u; y < 16u; y++) {
            found = max(found, left_stage[y * QUADS + lane]);
        }
        maxima[at * QUADS + lane] = found;
    }
}
