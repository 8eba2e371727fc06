//! `gristmill fault`: what goes wrong on purpose, so that tests see what a bug and what a confined process look like.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use crate::JobError;
use crate::confined::{self, Told};

/// What can be asked for.
pub(crate) const HOWS: [&str; 7] = ["panic", "write", "start", "connect", "x32", "memory", "stack"];
/// Budget under which memory is taken.
const BUDGET_BYTES: u64 = 64 << 20;

/// Does what was asked for; comes back with what the system said, where it comes back.
///
/// # Errors
/// Always, unless the system let it happen.
pub(crate) fn happen(how: &str) -> Result<(), JobError> {
    let refused = |error| JobError::Write { path: how.into(), error };
    match how {
        "write" => fs::write("fault.txt", "written").map_err(refused),
        "start" => Command::new("/bin/true").status().map_err(refused).map(|_| ()),
        // Nobody listens there: only the words of the refusal differ.
        "connect" => TcpStream::connect("127.0.0.1:9").map_err(refused).map(|_| ()),
        "x32" => Err(refused(x32_socket())),
        "memory" => {
            confined::tell(&Told { memory_bytes: Some(BUDGET_BYTES), ..Told::default() })?;
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                held.push(vec![1; 1 << 20]);
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        }
        "stack" => Err(JobError::Bug(deeper(1).to_string())),
        _ => panic!("a fault was asked for: {how}"),
    }
}

/// Asks for a socket by the number of the x32 interface, which few kernels have, and returns what the system says.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn x32_socket() -> std::io::Error {
    #[allow(unsafe_code, reason = "no binding makes such a call")]
    // SAFETY: takes three numbers; a socket that it may open is closed with the process.
    let _refused = unsafe { libc::syscall(0x4000_0000 | libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0) };
    std::io::Error::last_os_error()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn x32_socket() -> std::io::Error {
    std::io::ErrorKind::Unsupported.into()
}

/// Calls itself until there is no stack left.
fn deeper(n: u64) -> u64 {
    let here = std::hint::black_box([n; 64]);
    if n == 0 { 0 } else { deeper(n + here[0] % 2 + 1).wrapping_add(here[63]) }
}
