// A grid of one dimension is limited to 65,535 groups; the host lays a longer one out over two.
fn flat_group(group: vec3<u32>, n_groups: vec3<u32>) -> u32 {
    return group.y * n_groups.x + group.x;
}
