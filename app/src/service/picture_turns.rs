//! Posts of one replica that carry the same bytes take turns, so that fifty people who post the same picture at once
//! cost one thumbnail and not fifty. Between replicas the database decides; this only saves work.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

type Sha256 = [u8; 32];

/// Which pictures are being worked on.
#[derive(Debug, Default)]
pub(super) struct PictureTurns {
    turns: Mutex<HashMap<Sha256, Weak<Turn<()>>>>,
}

/// It is this post's turn with its pictures until this is dropped.
#[derive(Debug)]
pub(super) struct Turns {
    _held: Vec<OwnedMutexGuard<()>>,
}

impl PictureTurns {
    /// Waits until nobody else works on any of these pictures.
    pub(super) async fn wait(&self, pictures: impl IntoIterator<Item = Sha256>) -> Turns {
        // In ascending order, or two posts with the same two pictures would wait for each other.
        let pictures: BTreeSet<Sha256> = pictures.into_iter().collect();
        let mut held = Vec::with_capacity(pictures.len());
        for picture in pictures {
            held.push(self.turn(picture).lock_owned().await);
        }
        Turns { _held: held }
    }

    fn turn(&self, picture: Sha256) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&picture).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::default());
        turns.insert(picture, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_same_picture_waits_and_another_does_not() {
        let pictures = PictureTurns::default();
        let first = pictures.wait([[1; 32], [2; 32], [1; 32]]).await;
        assert!(pictures.wait([[3; 32]]).now_or_never().is_some());
        assert!(pictures.wait([[2; 32]]).now_or_never().is_none());
        drop(first);
        assert!(pictures.wait([[2; 32]]).now_or_never().is_some());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_what_is_over() {
        let pictures = PictureTurns::default();
        for picture in 0..100 {
            drop(pictures.wait([[picture; 32]]).await);
        }
        assert!(pictures.turns.lock().unwrap().len() <= 1);
    }
}
