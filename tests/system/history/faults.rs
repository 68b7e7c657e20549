//! What happens to replicas and Postgres meanwhile.

use std::time::Duration;

use anyhow::Result;
use rand::{RngExt as _, rngs::StdRng};
use triptych_tests::{Replica, history::Down};

use super::recorder::{Disturbed, Recorder};
use crate::board::{Board, wait_until};

/// How long something stands still or is away as a rule, in milliseconds, and how long every fourth time.
const BRIEFLY: std::ops::Range<u64> = 50..500;
const LONG: std::ops::Range<u64> = 500..3000;
/// How often Postgres is away until replicas show pages as of when it last answered.
const LONG_OUTAGE_EVERY: usize = 10;

/// Disturbs until enough was read.
#[derive(Clone, Copy)]
pub(super) struct Faults<'a> {
    board: &'a Board,
    recorder: &'a Recorder,
}

impl<'a> Faults<'a> {
    pub(super) fn new(board: &'a Board, recorder: &'a Recorder) -> Self {
        Self { board, recorder }
    }

    pub(super) async fn disturb_replicas(self, mut random: StdRng) -> Result<()> {
        while self.reads_on(&mut random).await? {
            let number = random.random_range(0..self.board.replicas().len());
            let replica = self.board.replica(number)?;
            match random.random_range(0..6) {
                0..3 => {
                    replica.pause()?;
                    away(&mut random).await;
                    replica.resume()?;
                }
                3 => self.restart(number, replica, async || replica.kill()).await?,
                4 => {
                    replica.pause()?;
                    away(&mut random).await;
                    self.restart(number, replica, async || replica.kill()).await?;
                }
                _ => self.restart(number, replica, async || replica.terminate().await.map(drop)).await?,
            }
            self.recorder.disturbed(Disturbed::Replica);
        }
        Ok(())
    }

    pub(super) async fn disturb_postgres(self, mut random: StdRng) -> Result<()> {
        let postgres = &self.board.postgres;
        for number in 0.. {
            if !self.reads_on(&mut random).await? {
                break;
            }
            match random.random_range(0..6) {
                _ if number % LONG_OUTAGE_EVERY == 0 => {
                    let before = self.recorder.pages_as_of();
                    postgres.stop().await?;
                    wait_until("pages are shown as of before", || async { Ok(self.recorder.pages_as_of() > before) })
                        .await?;
                    away(&mut random).await;
                    postgres.start().await?;
                }
                0..3 => {
                    let paused = postgres.pause()?;
                    away(&mut random).await;
                    drop(paused);
                }
                way => {
                    match way {
                        3 => postgres.stop().await?,
                        4 => postgres.stop_immediately().await?,
                        _ => postgres.kill()?,
                    }
                    away(&mut random).await;
                    postgres.start().await?;
                }
            }
            self.recorder.disturbed(Disturbed::Postgres);
        }
        Ok(())
    }

    /// Ends a replica, starts it again, and notes that meanwhile its connections were cut: those to itself, and those
    /// through nginx that led to it.
    async fn restart(&self, number: usize, replica: &Replica, end: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        let begin = self.recorder.now();
        end().await?;
        replica.start()?;
        replica.wait_ready().await?;
        for site in [0, number + 1] {
            self.recorder.down(Down { site, begin, end: self.recorder.now() });
        }
        Ok(())
    }

    /// Waits until some more was read; no if all is done.
    async fn reads_on(&self, random: &mut StdRng) -> Result<bool> {
        let usual = self.recorder.reads_between_faults();
        let wanted = self.recorder.reads() + random.random_range(usual / 2..=usual);
        wait_until("the board is read", || async { Ok(self.recorder.is_enough() || self.recorder.reads() >= wanted) })
            .await?;
        Ok(!self.recorder.is_enough())
    }
}

async fn away(random: &mut StdRng) {
    let milliseconds = if random.random_bool(0.25) { LONG } else { BRIEFLY };
    tokio::time::sleep(Duration::from_millis(random.random_range(milliseconds))).await;
}
