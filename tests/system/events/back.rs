//! Coming back: whoever tells how far they had got misses nothing, or is told to load the page anew.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use sqlx::AssertSqlSafe;
use triptych_tests::{Stack, Visitor, Watcher, watcher::Told};

use super::{BOARD, Heard, delete, new_thread, of_board, of_thread, replicas, reply};

async fn execute(stack: &Stack, sql: String) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut stack.database().await?).await;
    done.map(drop).context(sql)
}

/// Whether all replicas tell whoever comes back from a position to load the page anew.
async fn reloads(replicas: &[Visitor], path: &str, position: &str) -> Result<()> {
    for replica in replicas {
        let place = format!("{path} from {position}");
        let mut back = Watcher::open(replica, path, Some(position)).await.with_context(|| place.clone())?;
        ensure!(back.next().await? == Some(Told::Reload), "{place}: no reload");
        ensure!(back.position() != position, "{place}: the next time it comes back from there again");
    }
    Ok(())
}

#[tokio::test]
async fn another_replica_goes_on_where_the_first_one_ended() -> Result<()> {
    const SLUG: &str = "back";
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let [visitor, ..] = &visitors;
    let thread = new_thread(visitor, SLUG).await?;
    let paths = [of_board(SLUG), of_thread(SLUG, thread)];
    let mut watching = try_join_all(paths.iter().map(|path| Watcher::open(visitor, path, None))).await?;
    let at_the_start: Vec<String> = watching.iter().map(|watcher| watcher.position().to_owned()).collect();
    let no = reply(visitor, SLUG, thread).await?;
    let mut positions = Vec::new();
    for (watcher, at_the_start) in watching.iter_mut().zip(at_the_start) {
        let retry = watcher.retry().context("it is not told when to come back")?;
        ensure!((2000..6000).contains(&retry.as_millis()), "it comes back after {retry:?}");
        Heard::default().until(watcher, no).await?;
        positions.push([at_the_start, watcher.position().to_owned()]);
    }

    let mut wanted = Heard::default();
    for _ in 0..4 {
        wanted.posted.insert(reply(visitor, SLUG, thread).await?);
    }
    let deleted = *wanted.posted.first().context("nothing was posted")?;
    delete(visitor, SLUG, &[deleted], false).await?;
    wanted.posted.remove(&deleted);
    wanted.deleted.insert(deleted);
    let last = *wanted.posted.last().context("nothing was posted")?;

    for replica in &visitors {
        for (path, [earlier, later]) in paths.iter().zip(&positions) {
            let in_address = format!("{path}?after={later}");
            for (path, position) in [(path, Some(later)), (&in_address, None)] {
                let mut back = Watcher::open(replica, path, position.map(String::as_str)).await?;
                let mut heard = Heard::default();
                heard.until(&mut back, last).await?;
                assert_eq!(heard, wanted, "{path} {position:?}");
                // What a browser sends that came with an address and has got further meanwhile.
                let again = Watcher::open(replica, &in_address, Some(back.position())).await?;
                assert_eq!(again.position(), back.position());
            }
            // From where it stood before the first event.
            let mut heard = Heard::default();
            heard.until(&mut Watcher::open(replica, path, Some(earlier)).await?, last).await?;
            assert_eq!(heard.deleted, wanted.deleted);
            assert!(heard.posted.is_superset(&wanted.posted) && heard.posted.len() > wanted.posted.len(), "{heard:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_was_away_longer_than_changes_are_remembered_loads_the_page_anew() -> Result<()> {
    const SLUG: &str = "pruned";
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let [visitor, ..] = &visitors;
    let thread = new_thread(visitor, SLUG).await?;
    let paths = [of_board(SLUG), of_thread(SLUG, thread)];
    let mut positions = Vec::new();
    for path in &paths {
        positions.push(Watcher::open(visitor, path, None).await?.position().to_owned());
    }
    let forgotten = reply(visitor, SLUG, thread).await?;
    reply(visitor, SLUG, thread).await?;
    let forget = |no: i64| {
        execute(stack, format!("delete from change where thread_no = {thread} and coalesce(post_no, 0) <= {no}"))
    };
    forget(forgotten).await?;
    for (path, position) in paths.iter().zip(&positions) {
        reloads(&visitors, path, position).await?;
    }
    // That nothing is remembered does not matter to whoever has missed nothing.
    forget(i64::from(i32::MAX)).await?;
    for (path, position) in paths.iter().zip(&positions) {
        reloads(&visitors, path, position).await?;
        for replica in &visitors {
            let mut watcher = Watcher::open(replica, path, None).await?;
            let position = watcher.position().to_owned();
            let mut back = Watcher::open(replica, path, Some(&position)).await?;
            let no = reply(visitor, SLUG, thread).await?;
            Heard::default().until(&mut watcher, no).await?;
            Heard::default().until(&mut back, no).await?;
            Heard::default().until(&mut Watcher::open(replica, path, Some(&position)).await?, no).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn positions_of_before_a_restore_are_not_taken_for_those_of_after_it() -> Result<()> {
    const SLUG: &str = "restored";
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let [visitor, ..] = &visitors;
    let thread = new_thread(visitor, SLUG).await?;
    let paths = [of_board(SLUG), of_thread(SLUG, thread)];
    let board = format!("board_id = (select id from board where slug = '{SLUG}')");
    let backup = format!(
        "create table backup_of_change as select * from change where {board};
         create table backup_of_thread as table thread_state; create table backup_of_board as table board_state"
    );
    execute(stack, backup).await?;
    let lost = [reply(visitor, SLUG, thread).await?, reply(visitor, SLUG, thread).await?];
    let (mut before, mut watching) = (Vec::new(), Vec::new());
    for path in &paths {
        before.push(Watcher::open(visitor, path, None).await?.position().to_owned());
        for replica in &visitors {
            watching.push(Watcher::open(replica, path, None).await?);
        }
    }
    let restore = format!(
        "begin;
         delete from post where no in ({}, {});
         delete from change where {board} and id not in (select id from backup_of_change);
         update thread_state now set version = backup.version, changed_at = backup.changed_at, replies = backup.replies
             from backup_of_thread backup where backup.thread_no = now.thread_no and now.thread_no = {thread};
         update board_state now set version = backup.version, changed_at = backup.changed_at, posts = backup.posts
             from backup_of_board backup where backup.board_id = now.board_id and now.{board};
         commit",
        lost[0], lost[1],
    );
    execute(stack, restore).await?;
    for (path, position) in paths.iter().zip(&before) {
        reloads(&visitors, path, position).await?;
    }
    // As far again as before, and further.
    for _ in 0..3 {
        reply(visitor, SLUG, thread).await?;
        for (path, position) in paths.iter().zip(&before) {
            reloads(&visitors, path, position).await?;
        }
    }
    let newest = reply(visitor, SLUG, thread).await?;
    for watcher in &mut watching {
        ensure!(watcher.next().await? == Some(Told::Reload), "who watches is not told that the past is another one");
        Heard::default().until(watcher, newest).await?;
    }
    Ok(())
}
