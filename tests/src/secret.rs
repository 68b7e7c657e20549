//! Secrets that are made once and kept in a file that only its owner can read.

use std::{fmt::Write as _, fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use anyhow::{Context, Result, ensure};

/// A new secret: 256 random bits as hexadecimal digits.
#[must_use]
pub fn new() -> String {
    let bits: [u8; 32] = rand::random();
    bits.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The secret in `file`, made on the first call.
pub fn kept(file: &Path) -> Result<String> {
    if file.exists() {
        let secret = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let secret = secret.trim().to_owned();
        ensure!(!secret.is_empty(), "{} is empty", file.display());
        return Ok(secret);
    }
    let secret = new();
    write(file, &secret)?;
    Ok(secret)
}

/// Writes a secret to a new file with mode 600.
pub fn write(file: &Path, secret: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    let mut handle = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).with_context(cannot)?;
    handle.write_all(secret.as_bytes()).with_context(cannot)?;
    handle.sync_all().with_context(cannot)
}
