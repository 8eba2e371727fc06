// One tile of products of columns, TILE x TILE, by a workgroup of 16 x 16 threads.
//
// It walks down the rows in stages: 128 threads fetch a 4 x 4 block of `left` each and 128 one of `right`, turn it in
// registers, and put it down row by row, so that the product reads whole vec4 of columns. Each thread owns 4 x 4 entries
// (TILE 64) or four such quadrants that lie 64 columns apart (TILE 128).
//
// The shader around it gives left_rows(column, at) and right_rows(column, at): four rows of a column, 0 beyond the last column.
//
// Numbers: products are added in f32 in runs of 128 rows, the runs in a second set of registers.
// Trips: 1 + STAGE / 4 for each stage of STAGE rows.

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

// The entries of a thread of the tile at (tile_left, tile_right), from vec4 `first_quad` of every column on.
fn tile_products(
    tile_left: u32, tile_right: u32, first_quad: u32, n_stages: u32, thread: vec3<u32>, lane: u32,
) -> Entries {
    // The block of 4 x 4 that this thread fetches: neighbours take the next four rows of the same columns.
    let is_left = lane < 128u;
    let row_group = (lane % 128u) % ROW_GROUPS;
    let quad = (lane % 128u) / ROW_GROUPS;
    let column = select(tile_right, tile_left, is_left) * TILE + quad * 4u;
    let first = first_quad + row_group;

    var sum = Entries();
    var run = Entries();
    var block = fetch(is_left, column, first);
    for (var stage = 0u; stage < n_stages; stage++) {
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
        if (stage + 1u < n_stages) {
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
    return add_entries(sum, run);
}
