//! Whatever is done to replicas and to Postgres: whoever watches is told of everything, in time.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use triptych_tests::{Form, Visitor, Watcher, watcher::Told};

use super::{Heard, new_thread, of_board, of_thread, replicas, reply};
use crate::board::{Board, wait_until};

const SLUG: &str = "b";

/// A thread, those who watch it and its board, and what they have to hear.
struct Audience<'a> {
    board: &'a Board,
    visitors: [Visitor; 3],
    thread: i64,
    paths: [String; 2],
    wanted: BTreeSet<i64>,
}

impl Audience<'_> {
    /// A reply, through one of the replicas.
    async fn reply(&mut self, through: &Visitor) -> Result<()> {
        self.wanted.insert(reply(through, SLUG, self.thread).await?);
        Ok(())
    }

    /// Begins to watch at one of the replicas.
    async fn watch(&self, at: &Visitor) -> Result<Vec<(Watcher, Heard)>> {
        let opening = self.paths.iter().map(|path| Watcher::open(at, path, None));
        Ok(try_join_all(opening).await?.into_iter().map(|watcher| (watcher, Heard::default())).collect())
    }

    /// Listens until the last reply was told: no other may be missing.
    async fn hear_everything(&self, watching: &mut [(Watcher, Heard)]) -> Result<()> {
        let last = *self.wanted.last().context("nothing was posted")?;
        for (watcher, heard) in watching {
            heard.until(watcher, last).await.with_context(|| self.board.complaints())?;
            assert_eq!(heard.posted, self.wanted);
        }
        Ok(())
    }
}

#[tokio::test]
async fn nothing_is_lost_when_replicas_are_killed_or_frozen_and_postgres_restarts() -> Result<()> {
    let board = Board::start().await?;
    let visitors = replicas(&board)?;
    let [visitor, ..] = &visitors;
    let thread = new_thread(visitor, SLUG).await?;
    let paths = [of_board(SLUG), of_thread(SLUG, thread)];
    let mut audience = Audience { board: &board, visitors, thread, paths, wanted: BTreeSet::new() };
    killed(&mut audience).await.context("a replica was killed")?;
    frozen(&mut audience).await.context("a replica was frozen")?;
    postgres_restarted(&mut audience).await.context("Postgres was restarted")
}

async fn killed(audience: &mut Audience<'_>) -> Result<()> {
    audience.wanted.clear();
    let [mortal, others @ ..] = &audience.visitors.clone();
    let mut watching = audience.watch(mortal).await?;
    for (turn, writer) in others.iter().cycle().take(6).enumerate() {
        audience.reply(writer).await?;
        if turn == 0 {
            audience.hear_everything(&mut watching).await?;
        }
        if turn == 2 {
            audience.board.replica(0)?.kill()?;
        }
    }
    for (((watcher, heard), path), elsewhere) in watching.iter_mut().zip(&audience.paths).zip(others) {
        // What had come before the end.
        while let Some(told) = watcher.next().await? {
            match told {
                Told::Thread(event) => heard.posted.extend(event.posted),
                Told::Reload => anyhow::bail!("the client is told to load the page anew"),
            }
        }
        *watcher = Watcher::open(elsewhere, path, Some(watcher.position())).await?;
    }
    audience.hear_everything(&mut watching).await?;

    let replica = audience.board.replica(0)?;
    replica.start()?;
    for writer in others {
        audience.reply(writer).await?;
    }
    replica.wait_ready().await?;
    for ((watcher, _), path) in watching.iter_mut().zip(&audience.paths) {
        *watcher = Watcher::open(mortal, path, Some(watcher.position())).await?;
    }
    audience.hear_everything(&mut watching).await
}

async fn frozen(audience: &mut Audience<'_>) -> Result<()> {
    audience.wanted.clear();
    let [one, other, frozen] = &audience.visitors.clone();
    let mut watching = audience.watch(frozen).await?;
    let replica = audience.board.replica(2)?;
    replica.pause()?;
    let mut elsewhere = audience.watch(other).await?;
    for writer in [one, other, one, other] {
        audience.reply(writer).await?;
        audience.hear_everything(&mut elsewhere).await?;
        // For longer than a replica has patience with its database.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    replica.resume()?;
    audience.hear_everything(&mut watching).await
}

async fn postgres_restarted(audience: &mut Audience<'_>) -> Result<()> {
    audience.wanted.clear();
    let board = audience.board;
    let [one, two, three] = &audience.visitors.clone();
    let mut watching = Vec::new();
    for replica in [one, two, three] {
        watching.extend(audience.watch(replica).await?);
    }
    let positions: Vec<String> = watching.iter().take(2).map(|(watcher, _)| watcher.position().to_owned()).collect();
    audience.reply(one).await?;

    // One that is committed, and that no replica has asked for when Postgres ends.
    let (visitor, form) = (one.clone(), Form::reply(audience.thread, "committed, and not told yet"));
    let posting = tokio::spawn(async move { visitor.post(SLUG, &form).await });
    let mut database = board.database().await?;
    let committed: i32 = loop {
        let found = sqlx::query_scalar("select no from post where comment = 'committed, and not told yet'");
        if let Some(no) = found.fetch_optional(&mut database).await? {
            break no;
        }
        tokio::task::yield_now().await;
    };
    board.postgres.kill()?;
    audience.wanted.insert(committed.into());
    posting.await??;
    board.postgres.start().await?;
    wait_until("posts are taken again", || async {
        let answer = two.get(&format!("/{SLUG}/")).await?;
        Ok(answer.status.is_success() && !answer.is_older())
    })
    .await?;

    audience.hear_everything(&mut watching).await.context("before the next reply")?;
    audience.reply(three).await?;
    audience.hear_everything(&mut watching).await?;
    for (path, position) in audience.paths.iter().zip(&positions) {
        let back = Watcher::open(one, path, Some(position)).await?;
        audience.hear_everything(&mut [(back, Heard::default())]).await?;
    }
    Ok(())
}
