// hash: mixes seed + index for every index, in integers alone, so that any difference is a fault.
//
//   0  params  uniform
//   1  hashes  write   n u32
//   grid: ceil(n / 64), flattened over two dimensions

struct Params {
    n: u32,
    seed: u32,
    unused_0: u32,
    unused_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> hashes: array<u32>;

@compute @workgroup_size(64)
fn hash(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = flat_group(group, n_groups) * 64u + lane;
    if (index < params.n) {
        hashes[index] = mix(params.seed + index);
    }
}
