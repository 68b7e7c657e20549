//! Promise 2 at its plainest: a post that was answered is at every pod, by the pod's own address, with its picture.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::StatusCode;
use serde_json::Value;

use crate::{
    cluster::{
        Test,
        board::{Board, SLUG, thread_path},
        client::{Ask, Client, Failure},
        kubectl::{Component, Pod},
        ledger::{hash, number, posts},
    },
    http::{JSON, Posted},
    pictures::Picture,
};

const POSTS: usize = 500;
/// People who post at a time.
const LANES: usize = 5;

/// Reads, and what was not there.
#[derive(Debug, Default)]
struct Done {
    reads: BTreeMap<String, usize>,
    stale: Vec<String>,
}

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let pods = test.kubectl.settled(Component::App, 3).await?;
    let lanes: Vec<Done> = stream::iter(0..LANES)
        .map(|lane| post_and_read(&test.board, lane, &pods))
        .buffer_unordered(LANES)
        .try_collect()
        .await?;
    let mut reads: BTreeMap<String, usize> = BTreeMap::new();
    for (pod, number) in lanes.iter().flat_map(|done| &done.reads) {
        *reads.entry(pod.clone()).or_default() += number;
    }
    let stale: Vec<&String> = lanes.iter().flat_map(|done| &done.stale).collect();
    ensure!(stale.is_empty(), "{} of {POSTS} posts were not there: {stale:#?}", stale.len());
    let each = reads.len() == pods.len() && reads.values().all(|number| *number == POSTS);
    ensure!(each, "not every post was read from every pod: {reads:?}");
    Ok(format!("0 stale of {POSTS} posts with pictures, each read from each of {} pods", pods.len()))
}

/// Posts a picture and looks at once whether it is at every pod; and again.
async fn post_and_read(board: &Board, lane: usize, pods: &[Pod]) -> Result<Done> {
    let mut visitor = board.visitor();
    let thread = board.thread(&mut visitor, "reads from every pod").await?;
    let mut readers: Vec<(&Pod, Client)> = pods.iter().map(|pod| (pod, board.at(pod))).collect();
    let mut done = Done::default();
    for turn in 0..POSTS / LANES {
        let (comment, picture) = (format!("read {lane} {turn} {}", board.fresh()), board.picture()?);
        let resto = thread.to_string();
        let fields = [("resto", resto.as_str()), ("com", &comment)];
        let ask = Ask::form(&format!("/{SLUG}/post"), JSON, &fields, &[&picture]);
        board.ledger.sent(thread, &comment, Some(hash(&picture.bytes)));
        let posted: Posted = visitor.must(&ask, StatusCode::CREATED).await?.json()?;
        board.ledger.acknowledged(&comment, posted.no);
        // Somebody else is the first to be asked every time.
        let first = (turn + lane) % readers.len().max(1);
        readers.rotate_left(first);
        for (pod, reader) in &mut readers {
            *done.reads.entry(pod.name.clone()).or_default() += 1;
            if let Some(stale) = look(reader, pod, thread, posted.no, &picture, turn % 2 == 0).await? {
                done.stale.push(stale);
            }
        }
    }
    Ok(done)
}

/// Looks for a post at a pod, first on the page or in the document; answers what is not there.
async fn look(
    reader: &mut Client,
    pod: &Pod,
    thread: i64,
    no: i64,
    picture: &Picture,
    page_first: bool,
) -> Result<Option<String>> {
    let stale = |what: &str| Ok(Some(format!("No.{no} on {}: {what}", pod.name)));
    if page_first {
        let page = reader.must(&Ask::page(&thread_path(thread, "html")), StatusCode::OK).await?;
        if !page.text().contains(&format!("id=\"p{no}\"")) {
            return stale("not on the page");
        }
    }
    let answer = reader.must(&Ask::json(&thread_path(thread, "json")), StatusCode::OK).await?;
    let by = answer.header("X-Served-By");
    ensure!(by == pod.name, "{by} has answered in the place of {}", pod.name);
    let document: Value = answer.json()?;
    let Some(post) = posts(&document).iter().find(|post| number(post) == no) else {
        return stale("not in the document");
    };
    let media = post.get("media").and_then(Value::as_str).with_context(|| format!("No.{no} has no picture"))?;
    let loaded: Result<_, Failure> = reader.must(&Ask::picture(media), StatusCode::OK).await;
    match loaded {
        Ok(loaded) if loaded.body == picture.bytes => Ok(None),
        Ok(_) => stale("another picture"),
        Err(failure) => stale(&failure.to_string()),
    }
}
