//! Temporary directories that are gone afterwards, even when this process is killed.
//!
//! A `Drop` does not run on Ctrl-C or `kill -9`. So a small shell process waits for the end of this one
//! (its standard input closes) and then removes what is left.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

/// Reads directory names until the other end is gone, gives dying servers a moment, and removes them.
const CLEANER: &str = r#"
while IFS= read -r directory; do set -- "$@" "$directory"; done
sleep 2; rm -rf -- "$@"; sleep 3; rm -rf -- "$@"
"#;

static CLEANING: Mutex<Option<(Child, ChildStdin)>> = Mutex::new(None);

/// A temporary directory.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// Makes an empty directory. Other accounts may pass through it (not list it), because a server that
    /// root starts runs under another one.
    pub fn new(purpose: &str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("triptych-{purpose}-"))
            .tempdir()
            .context("cannot create a temporary directory")?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))
            .context("cannot open the temporary directory to the servers")?;
        clean_later(directory.path())?;
        Ok(Self { directory })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

fn clean_later(directory: &Path) -> Result<()> {
    let mut cleaning = CLEANING.lock().unwrap_or_else(PoisonError::into_inner);
    if cleaning.is_none() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", CLEANER, "triptych-cleaner"])
            .current_dir("/")
            // Ctrl-C in the terminal must not reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the cleaner of temporary directories")?;
        let stdin = child.stdin.take().context("the cleaner has no standard input")?;
        *cleaning = Some((child, stdin));
    }
    if let Some((_, stdin)) = cleaning.as_mut() {
        writeln!(stdin, "{}", directory.display()).context("the cleaner of temporary directories is gone")?;
    }
    Ok(())
}
