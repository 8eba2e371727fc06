// gram: products of every column of `left` with every column of `right`.
//
//   products(i, j) = sum over rows of left(row, i) * right(row, j)      left is squared first where asked
//
//   0  params    uniform
//   1  left      read        column-major; each vec4 is four rows of one column; rows are padded with 0 to 32
//   2  right     read        the same
//   3  products  read_write  column-major; i runs fastest; both sides are padded to whole tiles
//   grid: one workgroup for each TILE x TILE tile, flattened over two dimensions
//
// A workgroup holds one tile: see common/gram_tile.wgsl.
//
// Numbers: products are added in f32 in runs of 128 rows, the runs in a second set of registers, and dispatches over
// further rows in `products`. The error of an entry is at most (258 + runs + dispatches) * 2^-24 * sum |left * right|.
//
// Trips: 1 + STAGE / 4 for each stage of STAGE rows, counted by the host, which keeps them under 60,000.

struct Params {
    n_left: u32,        // columns
    n_right: u32,
    left_stride: u32,   // vec4 from one column to the next
    right_stride: u32,
    first: u32,         // first vec4 of this dispatch in every column
    n_stages: u32,
    tiles_left: u32,
    n_tiles: u32,       // tiles_left * tiles_right
    symmetric: u32,     // 1: tiles below the diagonal are left out
    square_left: u32,   // 1: left is squared first
    accumulate: u32,    // 1: add to what `products` holds
    unused_0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> products: array<vec4<f32>>;

fn left_rows(column: u32, at: u32) -> vec4<f32> {
    if (column >= params.n_left) {
        return vec4<f32>();
    }
    let rows = left[column * params.left_stride + at];
    return select(rows, rows * rows, params.square_left == 1u);
}

fn right_rows(column: u32, at: u32) -> vec4<f32> {
    if (column >= params.n_right) {
        return vec4<f32>();
    }
    return right[column * params.right_stride + at];
}

fn put(quad: u32, column: u32, entries: mat4x4<f32>) {
    let stride = params.tiles_left * QUADS;
    let at = column * stride + quad;
    if (params.accumulate == 1u) {
        products[at] += entries[0];
        products[at + stride] += entries[1];
        products[at + 2u * stride] += entries[2];
        products[at + 3u * stride] += entries[3];
    } else {
        products[at] = entries[0];
        products[at + stride] = entries[1];
        products[at + 2u * stride] = entries[2];
        products[at + 3u * stride] = entries[3];
    }
}

@compute @workgroup_size(16, 16)
fn gram(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = flat_group(group, n_groups);
    let tile_left = tile % params.tiles_left;
    let tile_right = tile / params.tiles_left;
    if (tile >= params.n_tiles || (params.symmetric == 1u && tile_left > tile_right)) {
        return;
    }

    let sum = tile_products(tile_left, tile_right, params.first, params.n_stages, thread, lane);
    let quad_left = tile_left * QUADS + thread.x;
    let column_right = tile_right * TILE + thread.y * 4u;
    put(quad_left, column_right, sum.q00);
    if (IS_WIDE) {
        put(quad_left + 16u, column_right, sum.q10);
        put(quad_left, column_right + 64u, sum.q01);
        put(quad_left + 16u, column_right + 64u, sum.q11);
    }
}
