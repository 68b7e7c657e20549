//! What a meter knows, in a file: sums that have not been handed on, and how far lines of nginx were read. Written before anything
//! is done that must not be done twice.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::log::Place;
use crate::traffic::Ledger;

/// The file, and the name under which a new one is written before it takes its place.
#[derive(Debug)]
pub(super) struct Saved {
    path: PathBuf,
    new: PathBuf,
}

/// What is in it; the ledger itself, or, to be written, a reference to it.
#[derive(Serialize, Deserialize)]
struct Knowledge<L> {
    ledger: L,
    place: Place,
}

impl Saved {
    /// Beside the file with the lines.
    pub(super) fn beside(lines: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = OsString::from(lines);
            name.push(ending);
            PathBuf::from(name)
        };
        Self { path: with(".counted"), new: with(".counted.new") }
    }

    /// What the meter before has left, if it counted for the same nginx.
    pub(super) fn read(&self, replica: &str) -> anyhow::Result<Option<(Ledger<String>, Place)>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        match serde_json::from_slice::<Knowledge<Ledger<String>>>(&text) {
            Ok(found) if found.ledger.source().replica == replica => Ok(Some((found.ledger, found.place))),
            Ok(_) => Ok(None),
            // Of another release, perhaps. Its sums are a gap, which is told because its run has no end.
            Err(error) => {
                tracing::warn!(%error, file = %self.path.display(), "what the meter before has left cannot be read");
                Ok(None)
            }
        }
    }

    /// Writes all of it or nothing.
    pub(super) fn write(&self, ledger: &Ledger<String>, place: Place) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&Knowledge { ledger, place })?;
        let written = fs::write(&self.new, text).and_then(|()| fs::rename(&self.new, &self.path));
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}
