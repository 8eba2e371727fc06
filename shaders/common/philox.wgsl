// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC11): the words of one counter, as in engine/src/stats/philox.rs.

// The upper half of a product.
fn high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let low = (middle & 0xffffu) + a0 * b1;
    return a1 * b1 + (middle >> 16u) + (low >> 16u);
}

fn philox_round(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(
        high(counter.z, 0xcd9e8d57u) ^ counter.y ^ key.x,
        counter.z * 0xcd9e8d57u,
        high(counter.x, 0xd2511f53u) ^ counter.w ^ key.y,
        counter.x * 0xd2511f53u,
    );
}

// Ten rounds by hand: a loop would count against the trips of an invocation.
fn philox(first: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    let step = vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    var counter = philox_round(first, key);
    counter = philox_round(counter, key + step);
    counter = philox_round(counter, key + 2u * step);
    counter = philox_round(counter, key + 3u * step);
    counter = philox_round(counter, key + 4u * step);
    counter = philox_round(counter, key + 5u * step);
    counter = philox_round(counter, key + 6u * step);
    counter = philox_round(counter, key + 7u * step);
    counter = philox_round(counter, key + 8u * step);
    return philox_round(counter, key + 9u * step);
}

// Four words of the stream of a permutation, from word 4 * block on.
fn permutation_words(block: u32, stream: u32, turn: u32, seed: vec2<u32>) -> vec4<u32> {
    return philox(vec4<u32>(block, 0u, stream, (1u << 28u) ^ turn), seed);
}
