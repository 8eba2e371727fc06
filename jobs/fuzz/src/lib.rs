//! What libFuzzer calls.

pub mod read;

/// Prepares a process: panics behind the readers' fence are no crashes, and all work is done by the calling thread.
pub fn begin() {
    gristmill_datasets::quiet_panics();
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool of the process");
}
