//! A folder that is held open: what is written in it lands there, whatever takes its place meanwhile.
//!
//! ```text
//! run folder, by its path -> folder of a step, one level down and no link -> files, each by `at`
//! ```
//!
//! On Linux the way in is the descriptor (`/proc/self/fd/N`), so that a link which is put into the path afterwards leads nowhere. The run folder
//! itself is what the user named, links and all.
//! Absent    systems without `/proc`: the way in is the path, and a link in it is looked for when the folder is opened.

use std::io;
use std::path::{Path, PathBuf};

use crate::run_dir;

/// What keeps a folder open.
#[cfg(target_os = "linux")]
type Held = Option<std::sync::Arc<std::os::fd::OwnedFd>>;
#[cfg(not(target_os = "linux"))]
type Held = Option<std::convert::Infallible>;

/// A folder, and the way into it.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    way_in: PathBuf,
    _held: Held,
}

impl Folder {
    /// Opens a folder by its path, wherever links in it lead.
    ///
    /// # Errors
    /// When it is not there, or the system refuses.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let (way_in, held) = super::again(|| hold(path, true))?;
        Ok(Self { path: path.to_owned(), way_in, _held: held })
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    /// When `name` is no single name, the folder is a link or no folder, is not there, or the system refuses.
    pub fn below(&self, name: &str) -> io::Result<Self> {
        // A path, or a slash at the end, would lead through a link.
        if !run_dir::is_name(name) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let (way_in, held) = super::again(|| hold(&self.at(name), false))?;
        Ok(Self { path: self.path.join(name), way_in, _held: held })
    }

    /// Returns its path, for messages and for reading.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the way to what has this name in it.
    #[must_use]
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.way_in.join(name)
    }

    /// Returns the way to the folder itself.
    pub(super) fn way_in(&self) -> &Path {
        &self.way_in
    }
}

#[cfg(target_os = "linux")]
fn hold(path: &Path, follows: bool) -> io::Result<(PathBuf, Held)> {
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let flags = if follows { flags } else { flags | OFlags::NOFOLLOW };
    let held = rustix::fs::open(path, flags, Mode::empty())?;
    let way_in = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    if way_in.is_dir() { Ok((way_in, Some(std::sync::Arc::new(held)))) } else { Ok((path.to_owned(), None)) }
}

#[cfg(not(target_os = "linux"))]
fn hold(path: &Path, follows: bool) -> io::Result<(PathBuf, Held)> {
    let about = if follows { std::fs::metadata(path)? } else { std::fs::symlink_metadata(path)? };
    if about.is_dir() { Ok((path.to_owned(), None)) } else { Err(io::ErrorKind::NotADirectory.into()) }
}
