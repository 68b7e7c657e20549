//! Changes that nobody has published: by the release before, which runs beside this one during an update, and by hand.

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use sqlx::AssertSqlSafe;
use triptych_tests::{Visitor, Watcher, watcher::Told};

use super::{BOARD, Heard, new_thread, of_board, of_thread, replicas, reply};

const SLUG: &str = "raw";

/// Checks that every replica shows a page with this text, or that there is no page.
async fn show(replicas: &[Visitor], path: &str, text: Option<&str>) -> Result<()> {
    for replica in replicas {
        let answer = replica.get(path).await?;
        let place = replica.url(path);
        match text {
            Some(text) => {
                let page = answer.expect(StatusCode::OK).context(place.clone())?.text();
                ensure!(page.contains(text), "{place} does not show {text:?}");
            }
            None => drop(answer.expect(StatusCode::NOT_FOUND).context(place)?),
        }
    }
    Ok(())
}

#[tokio::test]
async fn they_are_noticed_by_every_replica_and_told_as_reload() -> Result<()> {
    let stack = BOARD.get().await?;
    let visitors = replicas(stack)?;
    let thread = new_thread(&visitors[0], SLUG).await?;
    let no = reply(&visitors[0], SLUG, thread).await?;
    let (index, page) = (format!("/{SLUG}/"), format!("/{SLUG}/res/{thread}.html"));
    for path in [&index, &page] {
        show(&visitors, path, Some(&format!("id=\"p{no}\""))).await?;
    }
    let watch = |path: String| {
        let visitors = &visitors;
        async move { try_join_all(visitors.iter().map(|visitor| Watcher::open(visitor, &path, None))).await }
    };
    let (mut of_board, mut of_thread) = (watch(of_board(SLUG)).await?, watch(of_thread(SLUG, thread)).await?);
    let raise_board = format!(
        "update board_state set version = version + 1, changed_at = clock_timestamp()
         where board_id = (select id from board where slug = '{SLUG}')"
    );
    let execute = async |sql: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut stack.database().await?).await;
        done.context("changing something by hand").map(drop)
    };

    // As the release before does: whatever it has changed, it raises both versions in the same transaction.
    execute(format!(
        "update post set html = 'changed by hand' where no = {no};
         update thread_state set version = version + 1, changed_at = clock_timestamp() where thread_no = {thread};
         {raise_board}"
    ))
    .await?;
    for watcher in of_board.iter_mut().chain(&mut of_thread) {
        assert_eq!(watcher.next().await?, Some(Told::Reload));
        for path in [&index, &page] {
            show(&visitors, path, Some("changed by hand")).await?;
        }
    }

    // And what is published goes on from there.
    let no = reply(&visitors[1], SLUG, thread).await?;
    for watcher in of_board.iter_mut().chain(&mut of_thread) {
        Heard::default().until(watcher, no).await?;
    }

    // Without the time of the change, as only a person would.
    execute(format!("update thread_state set version = version + 1 where thread_no = {thread}")).await?;
    for watcher in &mut of_thread {
        assert_eq!(watcher.next().await?, Some(Told::Reload));
    }

    execute(format!("delete from thread where no = {thread}; {raise_board}")).await?;
    for watcher in &mut of_thread {
        assert!(watcher.next_of_thread().await?.gone);
        show(&visitors, &page, None).await?;
        assert_eq!(watcher.next().await?, None);
    }
    for watcher in &mut of_board {
        assert_eq!(watcher.next().await?, Some(Told::Reload));
        for visitor in &visitors {
            let board = visitor.get(&index).await?.text();
            ensure!(!board.contains(&format!("id=\"p{thread}\"")), "{} shows the thread", visitor.url(&index));
        }
    }
    Ok(())
}
