//! Under which account a server runs.
//!
//! Postgres refuses to run as root, and nginx should not. Started by root, both run as an ordinary
//! system user; started by anyone else, as that user. Knows nothing about the servers themselves.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Who a process runs as.
#[derive(Debug, Clone, Default)]
pub struct Account {
    user: Option<User>,
    /// Whether the account may pass directories that belong to others, as `/root` does.
    passes_closed_directories: bool,
}

#[derive(Debug, Clone)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account of this process.
    #[must_use]
    pub fn own() -> Self {
        Self::default()
    }

    /// An unprivileged account that can reach `directory`: the own one, unless that is root.
    pub fn unprivileged(directory: &Path) -> Result<Self> {
        Self::unprivileged_in(&[directory])
    }

    /// As [`Account::unprivileged`], for several directories: the data is in one and the program in another.
    pub fn unprivileged_in(directories: &[&Path]) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::own());
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let user = ["postgres", "nobody"]
            .iter()
            .find_map(|name| User::find(&passwd, name))
            .context("neither the user postgres nor the user nobody exists")?;
        // A checkout in root's home is closed to everybody else. Rather than moving the data to a place
        // where nobody looks for it, such an account gets the one capability that it needs.
        for passes_closed_directories in [false, true] {
            let account = Self { user: Some(user.clone()), passes_closed_directories };
            if account.reaches(directories)? {
                return Ok(account);
            }
        }
        bail!("the user {} cannot enter all of {directories:?}; keep the data where it can", user.name)
    }

    /// Makes a directory that belongs to this account and that no one else can read.
    pub fn create_directory(&self, directory: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;

        let cannot = || format!("cannot create {}", directory.display());
        fs::create_dir_all(directory).with_context(cannot)?;
        self.give(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).with_context(cannot)
    }

    /// Gives a file or directory to this account.
    pub fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        chown(path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("cannot give {} to the user {}", path.display(), user.name))
    }

    /// The arguments with which `setpriv` becomes this account.
    pub(crate) fn setpriv_arguments(&self) -> Vec<OsString> {
        let Some(user) = &self.user else {
            return Vec::new();
        };
        let mut arguments = vec![
            format!("--reuid={}", user.name).into(),
            format!("--regid={}", user.gid).into(),
            "--init-groups".into(),
        ];
        if self.passes_closed_directories {
            arguments.push("--inh-caps=+dac_override".into());
            arguments.push("--ambient-caps=+dac_override".into());
        }
        arguments
    }

    fn reaches(&self, directories: &[&Path]) -> Result<bool> {
        let setpriv = setpriv().context("setpriv (Debian package util-linux) is missing")?;
        let output = Command::new(setpriv)
            .args(self.setpriv_arguments())
            .args(["sh", "-c", "for directory; do cd \"$directory\" || exit; done", "sh"])
            .args(directories)
            .output()
            .context("cannot run setpriv")?;
        Ok(output.status.success())
    }
}

impl User {
    fn find(passwd: &str, wanted: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| *name == wanted)?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { name: name.to_owned(), uid, gid })
        })
    }
}

/// The `setpriv` program, where there is one.
pub(crate) fn setpriv() -> Option<PathBuf> {
    program("setpriv")
}

/// Finds a program on the `PATH` and in the places for system programs, which a user's `PATH` may lack.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
