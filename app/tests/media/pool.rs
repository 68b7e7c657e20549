//! Thumbnails through the pool. Its queue is tested where it is written.

use std::sync::Arc;

use triptych::domain::PictureKind;
use triptych::media::{Limits, MediaError, Pool, PoolError, thumbnail};

use crate::samples::{DECODER_PANICS_JPEG, corners, inspected, jpeg, png};

#[tokio::test]
async fn the_pool_makes_the_same_thumbnail() {
    let pool = Pool::new(Limits::default(), 2);
    let picture = Arc::new(inspected(&jpeg(&corners(600, 400))));
    let expected = thumbnail(&picture, pool.limits()).expect("a good picture");
    assert_eq!(pool.thumbnail(Arc::clone(&picture)).await, Ok(expected));
}

#[tokio::test]
async fn a_picture_that_cannot_be_decoded_is_the_picture_s_fault() {
    let pool = Pool::new(Limits { max_side: 10, ..Limits::default() }, 0);
    let picture = Arc::new(inspected(&png(&corners(20, 10))));
    let wide = MediaError::PictureTooWide { width: 20, height: 10, limit: 10 };
    assert_eq!(pool.thumbnail(picture).await, Err(PoolError::Media(wide)));
}

/// A decoder with this bug mended may as well make a thumbnail of it.
#[tokio::test]
async fn a_decoder_that_panics_costs_one_answer() {
    let pool = Pool::new(Limits::default(), 1);
    let picture = Arc::new(inspected(DECODER_PANICS_JPEG));
    for _ in 0..5 {
        let result = pool.thumbnail(Arc::clone(&picture)).await.map(|_| ());
        let panicked = MediaError::DecoderPanicked { kind: PictureKind::Jpeg };
        assert!(result == Ok(()) || result == Err(PoolError::Media(panicked)), "{result:?}");
    }
    assert!(pool.thumbnail(Arc::new(inspected(&png(&corners(9, 9))))).await.is_ok());
}

#[tokio::test]
async fn many_at_once_are_either_served_or_told_to_wait() {
    const TASKS: usize = 20;
    let pool = Arc::new(Pool::new(Limits::default(), 1));
    let picture = Arc::new(inspected(&png(&corners(1_500, 1_500))));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (pool, picture) = (Arc::clone(&pool), Arc::clone(&picture));
            tokio::spawn(async move { pool.thumbnail(picture).await })
        })
        .collect();
    let mut served = 0;
    let mut busy = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => served += 1,
            Err(PoolError::Busy) => busy += 1,
            Err(PoolError::Media(error)) => unreachable!("{error}"),
        }
    }
    assert_eq!(served + busy, TASKS, "{served} served, {busy} busy");
    assert!(served >= 1, "{served} served, {busy} busy");
}
