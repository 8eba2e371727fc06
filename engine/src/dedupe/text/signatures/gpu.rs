//! Signatures on a device: the driver of `shaders/dedupe/signatures.wgsl`.
//!
//! Shingles go up in chunks of whole texts; the keys of their bands come back. A text of more shingles than a dispatch may count is left to
//! the CPU.
//!
//! Numbers  integers, the same bits as on the CPU.
//! Checked  one text of every 64 is done again on the CPU, and at least about a thousand of a chunk.
//! Memory   short of it the chunk is halved before the work is given up.

use rayon::prelude::*;

use super::SignatureInput;
use crate::backend::contract::{Access, Contract, params};
use crate::backend::dispatch::{Dispatch, MAX_TRIPS, word};
use crate::backend::selftest::{mix, one_of};
use crate::backend::{Gpu, GpuError};

/// Lanes of a workgroup.
const LANES: usize = 128;
/// Bytes of the shingles of a chunk, at most.
const CHUNK_BYTES: u64 = 64 << 20;
/// Texts of which one is checked, at most.
const CHECKED: usize = 64;

params! {
    /// Parameters of `signatures`.
    struct SignatureParams { n_slots, n_rows, n_bands, first_text, n_texts, unused_0, unused_1, unused_2 }
}

/// The Rust side of `signatures`.
pub(crate) static SIGNATURES: Contract = Contract {
    shader: &gristmill_shaders::SIGNATURES,
    buffers: &[Access::Read, Access::Read, Access::Read, Access::ReadWrite],
    workgroup: [128, 1, 1],
    fields: SignatureParams::FIELDS,
    params_bytes: size_of::<SignatureParams>(),
};

/// Returns the keys of all texts.
pub(super) fn keys(gpu: &Gpu, input: SignatureInput<'_>) -> Result<Vec<u64>, GpuError> {
    let n_bands = input.slots.bands.n_bands;
    // A text brings its shingles, where they begin, and its keys.
    let bytes_to = |text: usize| 4 * u64::from(input.starts[text]) + (4 + 8 * n_bands as u64) * text as u64;
    let mut at_once = CHUNK_BYTES.min(gpu.max_binding_bytes()).min(gpu.memory_bytes() / 4);
    let mut keys = Vec::with_capacity(input.n_texts() * n_bands);
    let mut first = 0;
    while first < input.n_texts() {
        let fits = |end: &usize| bytes_to(*end) - bytes_to(first) <= at_once;
        let end = (first + 1..=input.n_texts()).take_while(fits).last().unwrap_or(first + 1);
        match chunk(gpu, input, first..end) {
            Err(GpuError::OutOfMemory(_)) if end - first > 1 => at_once /= 2,
            found => {
                keys.extend(found?);
                first = end;
            }
        }
    }
    Ok(keys)
}

fn chunk(gpu: &Gpu, input: SignatureInput<'_>, texts: std::ops::Range<usize>) -> Result<Vec<u64>, GpuError> {
    let bands = input.slots.bands;
    let (n_texts, origin) = (texts.len(), input.starts[texts.start]);
    let shingles = &input.shingles[origin as usize..input.starts[texts.end] as usize];
    let variant = SIGNATURES.shader.variants.iter().find(|variant| LANES * slots_a_lane(variant) >= bands.n_slots());
    let variant = variant.expect("bands have no more slots than the widest variant");
    // A text that is too long has no shingles there, and is done here.
    let trips = |n: usize| (n * (1 + slots_a_lane(variant)) + n / LANES + bands.n_slots() + 8) as u64;
    let is_long = |text: usize| trips(input.text(text).len()) > MAX_TRIPS;
    let n_slots = bands.n_slots();
    let (shingle_bytes, start_bytes) = (4 * shingles.len() as u64, 4 * (n_texts as u64 + 1));
    let (slot_bytes, key_words) = (8 * n_slots as u64, 2 * (n_texts * bands.n_bands) as u64);
    let task = gpu.task(shingle_bytes + start_bytes + slot_bytes + 4 * key_words)?;
    let (of_shingles, of_starts, of_slots, of_keys) =
        (task.buffer(shingle_bytes)?, task.buffer(start_bytes)?, task.buffer(slot_bytes)?, task.buffer(4 * key_words)?);
    let mut upload = task.upload(&of_shingles);
    upload.put(shingles)?;
    upload.finish()?;
    let starts: Vec<u32> = input.starts[texts.start..=texts.end].iter().map(|start| start - origin).collect();
    let mut upload = task.upload(&of_starts);
    upload.put(&starts)?;
    upload.finish()?;
    let slots: Vec<[u32; 2]> = input.slots.multipliers.iter().zip(&input.slots.addends).take(n_slots).map(|(m, a)| [*m, *a]).collect();
    let mut upload = task.upload(&of_slots);
    upload.put(&slots)?;
    upload.finish()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rough bound of time")]
    let most_shingles = (gpu.flops_per_dispatch() / (3 * LANES * slots_a_lane(variant)) as f64) as u32;
    let mut first = 0;
    while first < n_texts {
        // Long ones part the dispatches, and are in none.
        let fits = |end: &usize| !is_long(texts.start + end - 1) && (*end == first + 1 || starts[*end] - starts[first] <= most_shingles);
        let end = (first + 1..=n_texts).take_while(fits).last();
        if let Some(end) = end {
            let n_trips = (first..end).map(|text| trips(input.text(texts.start + text).len())).max().unwrap_or(0);
            task.dispatch(&Dispatch {
                contract: &SIGNATURES,
                variant,
                params: &SignatureParams {
                    n_slots: word(n_slots),
                    n_rows: word(bands.n_rows),
                    n_bands: word(bands.n_bands),
                    first_text: word(first),
                    n_texts: word(end - first),
                    ..SignatureParams::default()
                },
                buffers: &[&of_shingles, &of_starts, &of_slots, &of_keys],
                n_groups: (end - first) as u64,
                n_trips,
            })?;
        }
        first = end.unwrap_or(first + 1);
    }
    let words = task.read(&of_keys, key_words)?;
    let mut keys: Vec<u64> = words.as_chunks::<2>().0.iter().map(|[low, high]| u64::from(*high) << 32 | u64::from(*low)).collect();
    let of_texts = keys.par_chunks_mut(bands.n_bands).enumerate().filter(|(at, _)| is_long(texts.start + at));
    of_texts.for_each(|(at, keys)| input.slots.keys(input.text(texts.start + at), &mut Vec::new(), keys));
    check(input, texts.start, &keys)?;
    Ok(keys)
}

fn slots_a_lane(variant: &gristmill_shaders::Variant) -> usize {
    variant.constant("SLOTS_A_LANE").expect("every variant says how many") as usize
}

/// Fails unless the keys of the texts that are looked at are right.
fn check(input: SignatureInput<'_>, first: usize, keys: &[u64]) -> Result<(), GpuError> {
    let n_bands = input.slots.bands.n_bands;
    let every = one_of(keys.len() / n_bands, CHECKED);
    let failed = keys.par_chunks(every * n_bands).enumerate().find_map_first(|(group, keys)| {
        let nth = mix(word(group)) as usize % (keys.len() / n_bands);
        let (text, keys) = (first + group * every + nth, &keys[nth * n_bands..][..n_bands]);
        let mut own = vec![0; n_bands];
        input.slots.keys(input.text(text), &mut Vec::new(), &mut own);
        let wrong = own.iter().zip(keys).position(|(own, key)| own != key)?;
        Some((text, wrong))
    });
    failed.map_or(Ok(()), |(text, band)| {
        Err(GpuError::Wrong { kernel: "signatures", message: format!("band {band} of text {text} has another key than on the CPU") })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

    use super::super::super::bands::Bands;
    use super::super::tests::{by_the_book, texts};
    use super::super::{SignatureInput, Signatures, Slots};
    use super::check;
    use crate::backend::drill::Drill;
    use crate::backend::{Gpu, GpuError, Kernel, PlaceChoice};

    #[test]
    fn a_device_has_the_keys_of_the_book() {
        let Some(gpu) = Gpu::for_test(PlaceChoice::of_tests()) else { return };
        let mut lengths = vec![0, 1, 7, 127, 128, 129, 300, 0, 70_000, 5, 4_000];
        lengths.extend((0..200).map(|text| text * 13 % 97));
        let (shingles, starts) = texts(&lengths, 1);
        for (n_rows, n_bands) in [(1, 1), (5, 18), (4, 32), (3, 52), (1, 256)] {
            let slots = Slots::new(Bands { n_rows, n_bands }, 7);
            let input = SignatureInput { shingles: &shingles, starts: &starts, slots: &slots };
            assert_eq!(Signatures.on_gpu(&gpu, input).unwrap(), by_the_book(input), "{n_bands} bands of {n_rows}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused() {
        let (shingles, starts) = texts(&[40; 10], 1);
        let slots = Slots::new(Bands { n_rows: 4, n_bands: 8 }, 7);
        let input = SignatureInput { shingles: &shingles, starts: &starts, slots: &slots };
        let right = by_the_book(input);
        check(input, 0, &right).unwrap();
        let flipped: Vec<u64> = right.iter().map(|key| key ^ 1 << 40).collect();
        assert!(matches!(check(input, 0, &flipped), Err(GpuError::Wrong { .. })));
    }

    #[test]
    fn faults_change_no_key() {
        let (shingles, starts) = texts(&(0..400).map(|text| text % 60 + 1).collect::<Vec<_>>(), 1);
        let slots = Slots::new(Bands { n_rows: 4, n_bands: 8 }, 7);
        let input = SignatureInput { shingles: &shingles, starts: &starts, slots: &slots };
        let drill = Drill { kernel: Signatures, input, agree: |_, a, b| a == b };
        drill.survives_faults();
        drill.catches_flips();
    }
}
