//! Where jobs put what does not fit into memory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const LOCKED: &str = "lock";

/// A folder of this process alone under `<state_dir>/spill`, beside a lock that says it is in use.
///
/// It goes with the process, or, when that was killed, with the next process that begins in the same state folder.
/// Several may at once: a worker, and `moulin run` or `moulin convert`.
pub(crate) struct SpillFolder {
    path: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl SpillFolder {
    /// Makes the folder, after removing those of processes that are gone.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let all = state_dir.join("spill");
        fs::create_dir_all(&all)?;
        remove_dead(&all)?;
        let path = all.join(uuid::Uuid::new_v4().simple().to_string());
        let lock = path.with_extension(LOCKED);
        // It has its name only once it is held: whoever finds it free may take its process for gone.
        let nameless = path.with_extension("new");
        let held = File::create_new(&nameless)?;
        held.lock()?;
        fs::rename(&nameless, &lock)?;
        fs::create_dir(&path)?;
        Ok(Self { path, lock, _held: held })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        remove(&self.path, &self.lock);
    }
}

fn remove_dead(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let lock = entry?.path();
        let is_free = || File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
        if lock.extension().is_some_and(|extension| extension == LOCKED) && is_free() {
            remove(&lock.with_extension(""), &lock);
        }
    }
    Ok(())
}

/// Nobody waits for it: what cannot be removed now is found by the next process.
fn remove(folder: &Path, lock: &Path) {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::remove_file(lock),
    };
    if let Err(error) = removed {
        tracing::warn!(folder = %folder.display(), %error, "what a job had put there was not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(state_dir: &Path) -> usize {
        fs::read_dir(state_dir.join("spill")).unwrap().count()
    }

    #[test]
    fn a_folder_goes_with_its_process() {
        let state = tempfile::tempdir().unwrap();
        let spill = SpillFolder::open(state.path()).unwrap();
        fs::write(spill.path().join("rows"), "1").unwrap();
        drop(spill);
        assert_eq!(names(state.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_live_one_uses_is_not() {
        let state = tempfile::tempdir().unwrap();
        let live = SpillFolder::open(state.path()).unwrap();
        fs::write(live.path().join("rows"), "1").unwrap();
        let dead = live.path().with_file_name("dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("rows"), "1").unwrap();
        fs::write(dead.with_extension(LOCKED), "").unwrap();

        let next = SpillFolder::open(state.path()).unwrap();
        assert!(!dead.exists() && !dead.with_extension(LOCKED).exists());
        assert!(live.path().join("rows").exists() && next.path().exists());
        assert_eq!(names(state.path()), 4);
    }
}
