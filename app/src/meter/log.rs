//! The file that nginx writes lines to: read from where the last reading ended, and freed behind it.
//!
//! nginx appends, so the file must not be cut while it may do so: a line could come in between. What was read becomes a hole
//! instead (`fallocate(2)`, `FALLOC_FL_PUNCH_HOLE`). The file looks ever larger and takes no more room than what has not been read.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fstatvfs, seek};
use rustix::io::Errno;

/// A reading takes so much at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Less than what all workers of nginx may write at once (`buffer=64k`), so that some of it may have found no room.
const SCARCE_BYTES: u64 = 512 << 10;

/// The file.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    position: u64,
}

impl Log {
    /// Opens it, and makes it if nginx has not done so yet. What is before `position` was read by the meter before.
    pub(super) fn open(path: &Path, position: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o660).open(path)?;
        Ok(Self { file, position })
    }

    /// Up to where it has been read.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Calls `each` with every line that has come since the last reading, but for one that is not complete yet.
    pub(super) fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        // Another file with this name, or one that somebody emptied.
        if self.file.metadata()?.len() < self.position {
            self.position = 0;
        }
        // Over the hole, if nobody has told how far it reaches.
        match seek(&self.file, SeekFrom::Data(self.position)) {
            Ok(data) => self.position = data,
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = self.file.read_at(&mut piece, self.position)?;
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
            self.position += end as u64;
        }
    }

    /// Gives the room of what was read back.
    pub(super) fn free(&self) -> io::Result<()> {
        if self.position > 0 {
            fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, self.position)?;
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
    use std::os::unix::fs::MetadataExt as _;

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
        let mut log = Log::open(&path, 0).unwrap();
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
        assert_eq!(lines(&mut Log::open(&path, log.position()).unwrap()), ["next"]);
        assert_eq!(lines(&mut Log::open(&path, 0).unwrap()), ["next"]);
    }

    #[test]
    fn a_file_that_begins_anew_is_read_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let mut log = Log::open(&path, 0).unwrap();
        assert_eq!(lines(&mut log), ["one", "two"]);
        std::fs::write(&path, "three\n").unwrap();
        assert_eq!(lines(&mut log), ["three"]);
    }

    #[test]
    fn what_never_ends_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.log");
        let mut text = vec![b'x'; 3 * PIECE_BYTES];
        text.extend_from_slice(b"\nlast\n");
        std::fs::write(&path, text).unwrap();
        let found = lines(&mut Log::open(&path, 0).unwrap());
        assert_eq!(found.last().map(String::as_str), Some("last"));
    }
}
