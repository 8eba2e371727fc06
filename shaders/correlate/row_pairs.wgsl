// row_pairs: one bit for every pair of rows, of every column: whether the second cell is larger, and whether they differ.
//
//   strict(line, row) = rank(row) < rank(row + line)       apart(line, row) = rank(row) != rank(row + line)     rows in a circle
//
//   0  params  uniform
//   1  ranks   read        dense ranks, column by column
//   2  strict  read_write  n_words a column: lines one after another, line_words each; bits beyond a line, and words beyond the last line, are 0
//   3  apart   read_write  the same
//   grid: one thread for each word of each column, flattened over two dimensions
//
// Lines 1 to n / 2 hold each pair of rows once; of the last line of an even n, half.

struct Params {
    n_rows: u32,
    n_columns: u32,
    first_line: u32,
    n_lines: u32,
    line_words: u32,
    n_words: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ranks: array<u32>;
@group(0) @binding(2) var<storage, read_write> strict: array<u32>;
@group(0) @binding(3) var<storage, read_write> apart: array<u32>;

@compute @workgroup_size(64)
fn row_pairs(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = flat_group(group, n_groups) * 64u + lane;
    let column = at / params.n_words;
    let word = at % params.n_words;
    if (column >= params.n_columns) {
        return;
    }
    var larger = 0u;
    var different = 0u;
    if (word < params.n_lines * params.line_words) {
        let line = params.first_line + word / params.line_words;
        let n = select(params.n_rows, line, 2u * line == params.n_rows);
        let first = (word % params.line_words) * 32u;
        for (var bit = 0u; bit < 32u; bit++) {
            let row = first + bit;
            if (row < n) {
                let beyond = row + line;
                let other = select(beyond, beyond - params.n_rows, beyond >= params.n_rows);
                let a = ranks[column * params.n_rows + row];
                let b = ranks[column * params.n_rows + other];
                larger |= u32(a < b) << bit;
                different |= u32(a != b) << bit;
            }
        }
    }
    strict[at] = larger;
    apart[at] = different;
}
