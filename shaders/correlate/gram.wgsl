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
// A workgroup of 16 x 16 threads holds one tile. It walks down the rows in stages: 128 threads fetch a 4 x 4 block of
// `left` each and 128 one of `right`, turn it in registers, and put it down row by row, so that the product reads whole
// vec4 of columns. Each thread owns 4 x 4 entries (TILE 64) or four such quadrants that lie 64 columns apart (TILE 128).
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

// Rows of a stage: 128 blocks of 4 x 4 for either side, one for each half of the threads.
const STAGE: u32 = 2048u / TILE;
const ROW_GROUPS: u32 = STAGE / 4u;
const QUADS: u32 = TILE / 4u;
const IS_WIDE: bool = TILE == 128u;
const FLUSH_STAGES: u32 = 128u / STAGE;

var<workgroup> left_stage: array<vec4<f32>, STAGE * QUADS>;
var<workgroup> right_stage: array<vec4<f32>, STAGE * QUADS>;

// The entries of one thread: quadrant (a, b) is a * 64 columns of left and b * 64 columns of right away.
struct Entries {
    q00: mat4x4<f32>,
    q10: mat4x4<f32>,
    q01: mat4x4<f32>,
    q11: mat4x4<f32>,
}

// Threads of a quarter warp write different row groups of the same columns: without the exchange their addresses fall
// into one bank.
fn slot(row: u32, quad: u32) -> u32 {
    return row * QUADS + (quad ^ ((row / 4u) * (8u / ROW_GROUPS)));
}

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

// Four rows of four columns, turned: vector r of the result holds row r.
fn fetch(is_left: bool, column: u32, at: u32) -> mat4x4<f32> {
    if (is_left) {
        return transpose(mat4x4<f32>(
            left_rows(column, at), left_rows(column + 1u, at), left_rows(column + 2u, at), left_rows(column + 3u, at),
        ));
    }
    return transpose(mat4x4<f32>(
        right_rows(column, at), right_rows(column + 1u, at), right_rows(column + 2u, at), right_rows(column + 3u, at),
    ));
}

// Vector c of a quadrant is column c of right; its lanes are columns of left.
fn add_outer(to: mat4x4<f32>, a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(a, vec4<f32>(b.x), to[0]), fma(a, vec4<f32>(b.y), to[1]), fma(a, vec4<f32>(b.z), to[2]), fma(a, vec4<f32>(b.w), to[3]),
    );
}

fn add_row(to: Entries, row: u32, x: u32, y: u32) -> Entries {
    let a0 = left_stage[slot(row, x)];
    let b0 = right_stage[slot(row, y)];
    if (IS_WIDE) {
        let a1 = left_stage[slot(row, x + 16u)];
        let b1 = right_stage[slot(row, y + 16u)];
        return Entries(add_outer(to.q00, a0, b0), add_outer(to.q10, a1, b0), add_outer(to.q01, a0, b1), add_outer(to.q11, a1, b1));
    }
    return Entries(add_outer(to.q00, a0, b0), to.q10, to.q01, to.q11);
}

fn add_entries(a: Entries, b: Entries) -> Entries {
    return Entries(a.q00 + b.q00, a.q10 + b.q10, a.q01 + b.q01, a.q11 + b.q11);
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

    // The block of 4 x 4 that this thread fetches: neighbours take the next four rows of the same columns.
    let is_left = lane < 128u;
    let row_group = (lane % 128u) % ROW_GROUPS;
    let quad = (lane % 128u) / ROW_GROUPS;
    let column = select(tile_right, tile_left, is_left) * TILE + quad * 4u;
    let first = params.first + row_group;

    var sum = Entries();
    var run = Entries();
    var block = fetch(is_left, column, first);
    for (var stage = 0u; stage < params.n_stages; stage++) {
        // Every thread has read the stage before this one.
        workgroupBarrier();
        let row = row_group * 4u;
        if (is_left) {
            left_stage[slot(row, quad)] = block[0];
            left_stage[slot(row + 1u, quad)] = block[1];
            left_stage[slot(row + 2u, quad)] = block[2];
            left_stage[slot(row + 3u, quad)] = block[3];
        } else {
            right_stage[slot(row, quad)] = block[0];
            right_stage[slot(row + 1u, quad)] = block[1];
            right_stage[slot(row + 2u, quad)] = block[2];
            right_stage[slot(row + 3u, quad)] = block[3];
        }
        // The stage is complete.
        workgroupBarrier();
        // The next block is under way while this stage is multiplied.
        if (stage + 1u < params.n_stages) {
            block = fetch(is_left, column, first + (stage + 1u) * ROW_GROUPS);
        }
        // Four rows a trip by hand: a loop that the compiler leaves rolled would count four times the trips.
        for (var rows = 0u; rows < STAGE; rows += 4u) {
            run = add_row(run, rows, thread.x, thread.y);
            run = add_row(run, rows + 1u, thread.x, thread.y);
            run = add_row(run, rows + 2u, thread.x, thread.y);
            run = add_row(run, rows + 3u, thread.x, thread.y);
        }
        if ((stage + 1u) % FLUSH_STAGES == 0u) {
            sum = add_entries(sum, run);
            run = Entries();
        }
    }
    sum = add_entries(sum, run);

    let quad_left = tile_left * QUADS + thread.x;
    let column_right = tile_right * TILE + thread.y * 4u;
    put(quad_left, column_right, sum.q00);
    if (IS_WIDE) {
        put(quad_left + 16u, column_right, sum.q10);
        put(quad_left, column_right + 64u, sum.q01);
        put(quad_left + 16u, column_right + 64u, sum.q11);
    }
}
