//! The same picture is stored once, however often, in whatever order and with whatever metadata it is uploaded.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use triptych_tests::{
    Form,
    http::{JSON, Posted},
    pictures::{self, Picture},
};

use crate::board::{Board, SLUGS, find_post, json, objects, small_picture, text, thread_path};

#[tokio::test]
async fn fifty_identical_uploads_at_once_are_fifty_posts_and_one_picture() -> Result<()> {
    const UPLOADS: usize = 50;
    let board = Board::start().await?;
    let sites = board.sites()?;
    let replicas = sites.get(1..).context("no replicas")?;
    let picture = pictures::jpeg(50, 1200, 900)?;
    // First with nothing stored yet, straight to the replicas; then again, through nginx as well.
    for (round, sites) in [replicas, &sites].into_iter().enumerate() {
        let uploads = (0..UPLOADS).zip(sites.iter().cycle()).map(|(upload, site)| {
            let form = Form::thread(&format!("upload {upload} of round {round}")).picture(&picture);
            let slug = SLUGS.get(upload % SLUGS.len()).copied().unwrap_or_default();
            let site = site.accepting(JSON);
            async move { site.post(slug, &form).await }
        });
        let mut posted = BTreeSet::new();
        let mut refused = Vec::new();
        for answer in join_all(uploads).await {
            let answer = answer?;
            match answer.status {
                StatusCode::CREATED => posted.extend([answer.json::<Posted>()?.no]),
                status => refused.push(format!("{status}: {}", answer.text())),
            }
        }
        assert!(
            refused.is_empty(),
            "{} of {UPLOADS} uploads were refused: {refused:#?}\n{}",
            refused.len(),
            board.complaints()
        );
        assert_eq!(posted.len(), UPLOADS, "posts in round {round}");
        assert_eq!(board.count("select count(*) from blob").await?, 1, "rows for the one picture");
        assert_eq!(objects(&board.s3).await?.len(), 2, "objects: the picture and its thumbnail");
    }
    assert_eq!(board.count("select count(*) from post").await?, 2 * i64::try_from(UPLOADS)?, "posts");
    let hung = board.count("select count(*) from attachment where blob_id = (select id from blob)").await?;
    assert_eq!(hung, 2 * i64::try_from(UPLOADS)?, "posts that show the picture");
    assert_eq!(board.keys_of_rows().await?.len(), 2, "objects that belong to the row");
    board.nothing_is_half_done().await
}

/// A JPEG with a comment and Exif data put in behind its first marker.
fn with_metadata(jpeg: &Picture, words: &str) -> Result<Picture> {
    let segment = |marker: u8, content: &[u8]| -> Result<Vec<u8>> {
        let mut segment = vec![0xff, marker];
        segment.extend(u16::try_from(content.len() + 2)?.to_be_bytes());
        segment.extend(content);
        Ok(segment)
    };
    let (start, rest) = jpeg.bytes.split_at_checked(2).context("no JPEG")?;
    // Exif with one directory without entries: nothing that turns the picture.
    let exif = [b"Exif\0\0MM\0\x2a\0\0\0\x08\0\0\0\0\0\0".as_slice(), words.as_bytes()].concat();
    let bytes = [start, &segment(0xe1, &exif)?, &segment(0xfe, words.as_bytes())?, rest].concat();
    Ok(Picture { name: format!("{words}.jpg"), declared: jpeg.declared, bytes: bytes.into() })
}

fn md5s(post: &Value) -> Vec<String> {
    let mut files = vec![post];
    files.extend(post.get("extra_files").and_then(Value::as_array).into_iter().flatten());
    files.into_iter().filter_map(|file| text(file, "md5").ok()).collect()
}

#[tokio::test]
async fn a_picture_is_the_same_with_other_metadata_and_twice_on_one_post() -> Result<()> {
    let board = Board::start().await?;
    let sites = board.sites()?;
    let (first, second) = (sites.first().context("no sites")?, sites.get(1).context("no replicas")?);
    let plain = small_picture(7)?;
    let thread = first.must_post("b", &Form::thread("plain").picture(&plain)).await?.no;
    for (site, words) in sites.iter().zip(["taken at home", "taken elsewhere", "by somebody", "for nobody"]) {
        let picture = with_metadata(&plain, words)?;
        assert_ne!(picture.bytes, plain.bytes);
        site.must_post("b", &Form::reply(thread, words).picture(&picture)).await?;
    }
    assert_eq!(board.count("select count(*) from attachment").await?, 5, "uploads");
    assert_eq!(board.count("select count(*) from blob").await?, 1, "pictures that differ in more than metadata");
    for key in board.s3.keys("original/").await? {
        let stored = board.s3.get(&key).await?;
        for words in ["taken", "somebody", "nobody", "Exif"] {
            let there = stored.windows(words.len()).any(|window| window == words.as_bytes());
            assert!(!there, "the stored picture still says {words:?}");
        }
    }

    let twice = small_picture(8)?;
    let form = Form::reply(thread, "twice").picture(&twice).picture(&twice);
    let posted = second.must_post("b", &form).await?;
    let document = json(&first.get(&thread_path(&posted, "json")).await?)?;
    let shown = md5s(find_post(&document, posted.no).context("the post is not in its thread")?);
    assert_eq!(shown.len(), 2, "pictures on the post: {shown:?}");
    assert_eq!(shown.first(), shown.last(), "both are the same");
    assert_eq!(board.count("select count(*) from blob").await?, 2, "pictures");
    assert_eq!(objects(&board.s3).await?.len(), 4, "objects");
    assert_eq!(board.loads_pictures(first, &posted).await?, 2);
    board.nothing_is_half_done().await
}

#[tokio::test]
async fn the_same_pictures_in_opposite_order_at_once_never_block_each_other() -> Result<()> {
    const ROUNDS: usize = 20;
    const POSTS: usize = 4;
    let board = Board::start().await?;
    let sites = board.sites()?;
    let replicas = sites.get(1..).context("no replicas")?;
    let thread = board.thread("art").await?;
    let before = objects(&board.s3).await?.len();
    let mut posts = 0;
    for round in 0..ROUNDS {
        let seed = u64::try_from(round)? * 2 + 1000;
        let (one, other) = (small_picture(seed)?, small_picture(seed + 1)?);
        let posting = (0..POSTS).map(|post| {
            let form = Form::reply(thread, &format!("round {round}, post {post}"));
            let form =
                if post % 2 == 0 { form.picture(&one).picture(&other) } else { form.picture(&other).picture(&one) };
            let site = replicas.get(post % replicas.len()).map(|site| site.accepting(JSON));
            async move { site.context("no replica")?.post("art", &form).await }
        });
        let mut orders = Vec::new();
        for (post, answer) in join_all(posting).await.into_iter().enumerate() {
            let answer = answer?;
            answer.expect(StatusCode::CREATED).with_context(|| format!("round {round}, post {post}"))?;
            let posted: Posted = answer.json()?;
            let site = sites.get(post % sites.len()).context("no sites")?;
            let document = json(&site.get(&thread_path(&posted, "json")).await?)?;
            orders.push(md5s(find_post(&document, posted.no).context("the post is not in its thread")?));
            posts += 1;
        }
        let there = orders.first().context("nothing was posted")?.clone();
        let back: Vec<String> = there.iter().rev().cloned().collect();
        assert_eq!(there.iter().collect::<BTreeSet<_>>().len(), 2, "the pictures differ: {there:?}");
        for (post, order) in orders.iter().enumerate() {
            let expected = if post % 2 == 0 { &there } else { &back };
            assert_eq!(order, expected, "the order of the pictures on post {post} of round {round}");
        }
    }
    assert_eq!(posts, ROUNDS * POSTS, "posts");
    assert_eq!(board.count("select count(*) from blob").await?, i64::try_from(2 * ROUNDS + 1)?, "pictures");
    assert_eq!(objects(&board.s3).await?.len() - before, 4 * ROUNDS, "objects");
    board.nothing_is_half_done().await
}
