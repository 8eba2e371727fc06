// signatures: the keys of the bands of every text's MinHash signature.
//
//   slot s of a text = min over its shingles x of x * multiplier[s] + addend[s]        in u32, modulo 2^32
//   key of a band    = its slots, one after the other, mixed into two words
//
//   0  params    uniform
//   1  shingles  read        one u32 a shingle, text after text
//   2  starts    read        where the shingles of each text begin; one more at the end
//   3  slots     read        multiplier and addend of each slot
//   4  keys      read_write  n_bands keys a text, text after text
//   grid: one workgroup for each text, flattened over two dimensions
//
// A lane keeps the minima of SLOTS_A_LANE slots; the shingles of the text pass through workgroup memory, LANES at a time.
//
// Numbers: integers alone, the same bits as on the CPU.
// Trips: a shingle each, a stage for every LANES of them, and the slots of the bands of a lane; counted by the host, which keeps them under
// 60,000.

struct Params {
    n_slots: u32,
    n_rows: u32,        // slots of a band
    n_bands: u32,
    first_text: u32,
    n_texts: u32,       // of this dispatch
    unused_0: u32,
    unused_1: u32,
    unused_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> shingles: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> slots: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> keys: array<vec2<u32>>;

const LANES: u32 = 128u;

var<workgroup> stage: array<u32, LANES>;
var<workgroup> minima: array<u32, LANES * SLOTS_A_LANE>;

fn slot(at: u32) -> vec2<u32> {
    if (at >= params.n_slots) {
        return vec2<u32>();
    }
    return slots[at];
}

@compute @workgroup_size(128)
fn signatures(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) n_groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let text = params.first_text + flat_group(group, n_groups);
    if (text >= params.first_text + params.n_texts) {
        return;
    }
    var own: array<vec2<u32>, SLOTS_A_LANE>;
    var least: array<u32, SLOTS_A_LANE>;
    for (var at = 0u; at < SLOTS_A_LANE; at++) {
        own[at] = slot(at * LANES + lane);
        least[at] = 0xffffffffu;
    }
    let end = starts[text + 1u];
    for (var start = starts[text]; start < end; start += LANES) {
        let n_now = min(LANES, end - start);
        if (lane < n_now) {
            stage[lane] = shingles[start + lane];
        }
        workgroupBarrier();
        for (var nth = 0u; nth < n_now; nth++) {
            let shingle = stage[nth];
            for (var at = 0u; at < SLOTS_A_LANE; at++) {
                least[at] = min(least[at], shingle * own[at].x + own[at].y);
            }
        }
        workgroupBarrier();
    }
    for (var at = 0u; at < SLOTS_A_LANE; at++) {
        minima[at * LANES + lane] = least[at];
    }
    workgroupBarrier();
    for (var band = lane; band < params.n_bands; band += LANES) {
        var key = vec2<u32>(0x243f6a88u, 0x85a308d3u);
        for (var row = 0u; row < params.n_rows; row++) {
            let found = minima[band * params.n_rows + row];
            key = vec2<u32>(mix(key.x ^ found), mix(key.y ^ found));
        }
        keys[text * params.n_bands + band] = key;
    }
}
