//! The files of a form: kept in pieces as they arrive, hashed, and counted.
//!
//! What is counted is what a post may hold at any time until it is answered: every file once, and the largest once
//! more, because one file at a time is copied when its metadata is removed. Afterwards only the copy is left.

use sha2::{Digest, Sha256};

use crate::domain::PostLimits;
use crate::domain::submission::display_file_name;
use crate::memory::{Budget, Exhausted, Share};
use crate::service::posting::Upload;

/// The room that a file gets at first.
const FIRST_PIECE: usize = 16 << 10;
/// The most room that a file gets at a time. The allocator gives blocks of this size back to the system as soon as they
/// are free, if it is told to do so (`GLIBC_TUNABLES` in the `Dockerfile`).
const LARGEST_PIECE: usize = 128 << 10;

/// The memory of the files of one form.
#[derive(Debug)]
pub(super) struct Files {
    share: Share,
    most_file_bytes: usize,
    /// Bytes of the files that are there as a whole.
    finished: usize,
    /// Bytes of the largest of them.
    largest: usize,
}

/// A file as it arrives.
#[derive(Debug, Default)]
pub(super) struct IncomingFile {
    /// All of them full but the last.
    pieces: Vec<Vec<u8>>,
    /// The room that they have.
    capacity: usize,
    sha256: Sha256,
}

impl Files {
    pub(super) fn new(budget: &Budget, limits: &PostLimits, announced: Option<usize>) -> Self {
        let files = limits.files.saturating_mul(limits.file_bytes).min(announced.unwrap_or(usize::MAX));
        let largest = files.min(limits.file_bytes);
        // The last piece of a file may have more room than it needs.
        let share = budget.share((files + largest).saturating_add(2 * LARGEST_PIECE).min(limits.memory()));
        Self { share, most_file_bytes: limits.file_bytes, finished: 0, largest: 0 }
    }

    /// What holds the memory, once everything is read.
    pub(super) fn into_share(mut self) -> Share {
        self.share.finish();
        self.share
    }

    /// Nothing is held any longer.
    pub(super) fn give_up(&mut self) {
        (self.finished, self.largest) = (0, 0);
        self.share.shrink_to(0);
    }

    /// Adds to a file what has come of it. Together it must not be more than a file may have.
    pub(super) async fn add(&mut self, file: &mut IncomingFile, mut chunk: &[u8]) -> Result<(), Exhausted> {
        file.sha256.update(chunk);
        while !chunk.is_empty() {
            let room = match file.pieces.last() {
                Some(piece) => piece.capacity() - piece.len(),
                None => 0,
            };
            if room == 0 {
                let left = self.most_file_bytes.saturating_sub(file.capacity).max(1);
                let capacity = file.capacity.clamp(FIRST_PIECE, LARGEST_PIECE).min(left);
                self.count(file.capacity + capacity).await?;
                file.pieces.push(Vec::with_capacity(capacity));
                file.capacity += capacity;
                continue;
            }
            let (fits, rest) = chunk.split_at(room.min(chunk.len()));
            if let Some(piece) = file.pieces.last_mut() {
                piece.extend_from_slice(fits);
            }
            chunk = rest;
        }
        Ok(())
    }

    async fn count(&mut self, file: usize) -> Result<(), Exhausted> {
        self.share.grow_to(self.finished + file + self.largest.max(file)).await
    }

    /// The whole file.
    pub(super) fn finish(&mut self, file: IncomingFile, file_name: &str) -> Upload {
        let mut pieces = file.pieces;
        if let Some(last) = pieces.last_mut() {
            last.shrink_to_fit();
        }
        let bytes = pieces.iter().map(Vec::len).sum();
        self.finished += bytes;
        self.largest = self.largest.max(bytes);
        self.share.shrink_to(self.finished + self.largest);
        Upload { file_name: display_file_name(file_name), pieces, sha256: file.sha256.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    const LIMITS: PostLimits =
        PostLimits { files: 4, file_bytes: 200_000, comment_chars: 1, name_chars: 1, subject_chars: 1 };

    async fn upload(files: &mut Files, size: usize, chunk: usize) -> Result<Upload, Exhausted> {
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
        let mut file = IncomingFile::default();
        for chunk in bytes.chunks(chunk) {
            files.add(&mut file, chunk).await?;
        }
        let upload = files.finish(file, "a.jpg");
        assert_eq!(upload.pieces.concat(), bytes);
        assert_eq!(upload.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        assert!(upload.pieces.iter().all(|piece| piece.capacity() == piece.len()), "no room is left over");
        Ok(upload)
    }

    #[tokio::test]
    async fn every_file_is_counted_once_and_the_largest_twice() {
        let gauge = Gauge::default();
        let mut files = Files::new(&Budget::new(10_000_000, gauge.clone()), &LIMITS, None);
        for (size, counted) in [(50_000, 100_000), (150_000, 350_000), (0, 350_000), (100_000, 450_000)] {
            upload(&mut files, size, 4000).await.unwrap();
            assert_eq!(gauge.get(), counted, "after {size} bytes");
        }
        let share = files.into_share();
        assert_eq!(share.held(), 450_000);
        drop(share);
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn the_largest_post_fits_into_the_least_budget_however_it_comes() {
        for chunk in [1, 1000, 65_535, 65_536, 200_000] {
            for announced in [None, Some(4 * 200_000 + 500)] {
                let gauge = Gauge::default();
                let mut files = Files::new(&Budget::new(LIMITS.memory(), gauge.clone()), &LIMITS, announced);
                for _ in 0..4 {
                    upload(&mut files, 200_000, chunk).await.unwrap();
                }
                assert_eq!(gauge.get(), 1_000_000);
            }
        }
    }

    #[tokio::test]
    async fn memory_is_taken_as_bytes_arrive() {
        let gauge = Gauge::default();
        let mut files = Files::new(&Budget::new(LIMITS.memory(), gauge.clone()), &LIMITS, Some(800_000));
        assert_eq!(gauge.get(), 0);
        let mut file = IncomingFile::default();
        let room = [(1, 16 << 10), (20_000, 32 << 10), (60_000, 64 << 10), (65_537, 128 << 10), (140_000, 200_000)];
        for (arrived, room) in room {
            let so_far = file.pieces.iter().map(Vec::len).sum::<usize>();
            files.add(&mut file, &vec![0; arrived - so_far]).await.unwrap();
            assert_eq!(gauge.get(), 2 * room, "after {arrived} bytes");
        }
    }
}
