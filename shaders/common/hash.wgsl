// The finalizer of MurmurHash3: a bijection of u32 in which every input bit moves every output bit.
fn mix(seed: u32) -> u32 {
    var h = seed;
    h = (h ^ (h >> 16u)) * 0x85ebca6bu;
    h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
    return h ^ (h >> 16u);
}
