//! The file that nginx writes lines to: read from where the last reading ended, and freed behind it.
//!
//! nginx appends, so the file must not be cut while it may do so: a line could come in between. What was read becomes a hole
//! instead (`fallocate(2)`, `FALLOC_FL_PUNCH_HOLE`). The file looks ever larger and takes no more room than what has not been read.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fstatvfs, seek};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A reading takes so much at a time.
const PIECE_BYTES: usize = 256 << 10;
/// With less room than eight workers of nginx may write at once (`buffer=64k`) some of it may have found none.
const SCARCE_BYTES: u64 = 512 << 10;

/// Up to where lines were read, and of which file: one that takes the place of another begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place {
    inode: u64,
    position: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    place: Place,
}

impl Log {
    /// Opens it, and makes it if nginx has not done so yet. What is before `place` was read by the meter before.
    pub(super) fn open(path: &Path, place: Place) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o660).open(path)?;
        let inode = file.metadata()?.ino();
        let place = if place.inode == inode { place } else { Place { inode, position: 0 } };
        Ok(Self { path: path.to_owned(), file, place })
    }

    /// Up to where it has been read.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// Calls `each` with every line that has come since the last reading, but for one that is not complete yet.
    pub(super) fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.read_on(&mut each)?;
        // Somebody has put another file in its place, and nginx writes to that since it was told to reopen its logs.
        if self.path.metadata().is_ok_and(|found| found.ino() != self.place.inode) {
            *self = Self::open(&self.path, Place::default())?;
            self.read_on(&mut each)?;
        }
        Ok(())
    }

    fn read_on(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        // Somebody emptied it.
        if self.file.metadata()?.len() < self.place.position {
            self.place.position = 0;
        }
        // Over the hole, if nobody has told how far it reaches.
        match seek(&self.file, SeekFrom::Data(self.place.position)) {
            Ok(data) => self.place.position = data,
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = self.file.read_at(&mut piece, self.place.position)?;
            let filled = piece.get(..length).unwrap_or_default();
            let end = match filled.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                // nginx writes no line that is as long as a piece.
                None if length == PIECE_BYTES => length,
                None => return Ok(()),
            };
            for line in filled.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
                // The hole ends with a block of the disk, and zeros go on to where it should end.
                let start = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
                let line = line.get(start..).unwrap_or_default();
                if !line.is_empty() {
                    each(line);
                }
            }
            self.place.position += end as u64;
        }
    }

    /// Gives the room of what was read back.
    pub(super) fn free(&self) -> io::Result<()> {
        if self.place.position > 0 {
            fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, self.place.position)?;
        }
        Ok(())
    }

    /// Whether there was so little room that nginx may have lost lines.
    pub(super) fn was_full(&self) -> io::Result<bool> {
        let room = fstatvfs(&self.file)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize) < SCARCE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(log: &mut Log) -> Vec<String> {
        let mut lines = Vec::new();
        log.read(|line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap();
        lines
    }

    #[test]
    fn each_line_is_read_once_and_takes_no_room_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.log");
        let mut log = Log::open(&path, Place::default()).unwrap();
        assert_eq!(lines(&mut log), [""; 0]);
        let mut nginx = File::options().append(true).open(&path).unwrap();
        nginx.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(lines(&mut log), ["one", "two"]);
        log.free().unwrap();
        nginx.write_all(b"ee\n").unwrap();
        assert_eq!(lines(&mut log), ["three"], "whole lines only");

        // More than a piece, and no line of it torn.
        let many: Vec<String> = (0..100_000).map(|number| format!("line {number}")).collect();
        nginx.write_all(many.join("\n").as_bytes()).unwrap();
        nginx.write_all(b"\n").unwrap();
        let taken = path.metadata().unwrap().blocks();
        assert_eq!(lines(&mut log), many);
        log.free().unwrap();
        let left = path.metadata().unwrap().blocks();
        assert!(left < taken / 10, "{left} of {taken} blocks");

        // Another meter goes on where this one ended, and finds the place without having been told.
        nginx.write_all(b"next\n").unwrap();
        assert_eq!(lines(&mut Log::open(&path, log.place()).unwrap()), ["next"]);
        assert_eq!(lines(&mut Log::open(&path, Place::default()).unwrap()), ["next"]);
    }

    #[test]
    fn a_file_that_begins_anew_is_read_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let mut log = Log::open(&path, Place::default()).unwrap();
        assert_eq!(lines(&mut log), ["one", "two"]);
        std::fs::write(&path, "three\n").unwrap();
        assert_eq!(lines(&mut log), ["three"]);

        // What came before the other file took its place is not lost.
        let mut before = File::options().append(true).open(&path).unwrap();
        std::fs::rename(&path, directory.path().join("rotated")).unwrap();
        std::fs::write(&path, "five\nsix\n").unwrap();
        before.write_all(b"four\n").unwrap();
        assert_eq!(lines(&mut log), ["four", "five", "six"]);
        let place = log.place();
        std::fs::rename(&path, directory.path().join("rotated again")).unwrap();
        std::fs::write(&path, "seven, in a file that is longer than the one before\n").unwrap();
        assert_eq!(
            lines(&mut Log::open(&path, place).unwrap()),
            ["seven, in a file that is longer than the one before"]
        );
    }

    #[test]
    fn what_never_ends_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.log");
        let mut text = vec![b'x'; 3 * PIECE_BYTES];
        text.extend_from_slice(b"\nlast\n");
        std::fs::write(&path, text).unwrap();
        let found = lines(&mut Log::open(&path, Place::default()).unwrap());
        assert_eq!(found.last().map(String::as_str), Some("last"));
    }
}
