// loop_count: counts the trips of two nested loops, which must be n_outer * n_inner.
//
//   0  params  uniform
//   1  counts  write   1 u32
//   grid: one workgroup
//
// Software Vulkan of Mesa 22.3 ends every loop of an invocation after 65,535 trips in total, silently. A driver
// that does so counts too few here.

struct Params {
    n_outer: u32,
    n_inner: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(1)
fn loop_count() {
    var count = 0u;
    for (var i = 0u; i < params.n_outer; i++) {
        for (var j = 0u; j < params.n_inner; j++) {
            // Not a plain increment: a compiler may replace that by a product and never loop.
            count += 1u + (count & j & 0x80000000u);
        }
    }
    counts[0] = count;
}
