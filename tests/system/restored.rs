//! A database that was restored, or failed over to a replica that lagged behind, gives out numbers a second time. No tag
//! and no kept page of before may then be taken for what is there now.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use sqlx::{Connection as _, Executor as _};
use triptych_tests::{Answer, Form, Stack, Visitor};

use crate::shared::new_thread;

#[tokio::test]
async fn a_version_that_comes_back_with_other_content_is_another_version() -> Result<()> {
    let stack = Stack::builder().replicas(1).start().await?;
    let visitor = Visitor::new(&stack.replica(0)?.url())?;
    let thread = new_thread(&visitor, "b", "what was backed up").await?.no;
    let paths = [
        format!("/b/res/{thread}.html"),
        format!("/b/res/{thread}.json"),
        "/b/".to_owned(),
        "/b/catalog.json".to_owned(),
        "/".to_owned(),
    ];

    let mut database = stack.database().await?;
    database.execute("create table backup_of_thread as table thread_state").await?;
    database.execute("create table backup_of_board as table board_state").await?;
    database.execute("create table backup_of_site as table site_state").await?;
    // As `triptych migrate` does when the configuration has another title.
    let retitle = "update board set title = 'Lost title' where slug = 'b'";
    database.execute(retitle).await?;
    database.execute("update site_state set version = version + 1, changed_at = clock_timestamp()").await?;
    let lost = visitor.must_post("b", &Form::reply(thread, "lost by the restore")).await?.no;
    let mut before = Vec::new();
    for path in &paths {
        before.push(visitor.get(path).await?);
    }

    // What restoring a backup comes to: rows that are gone, numbers and times that are back.
    let mut restore = database.begin().await?;
    sqlx::query("delete from post where no = $1").bind(i32::try_from(lost)?).execute(&mut *restore).await?;
    for (table, key) in [("thread", "thread_no"), ("board", "board_id")] {
        let restored = format!(
            "update {table}_state as now set version = backup.version, changed_at = backup.changed_at
             from backup_of_{table} backup where backup.{key} = now.{key}"
        );
        sqlx::query(sqlx::AssertSqlSafe(restored)).execute(&mut *restore).await?;
    }
    restore.execute("update board set title = 'Random' where slug = 'b'").await?;
    restore
        .execute(
            "update site_state set version = backup.version, changed_at = backup.changed_at from backup_of_site backup",
        )
        .await?;
    restore.commit().await?;
    visitor.must_post("b", &Form::reply(thread, "said after the restore")).await?;

    for (path, before) in paths.iter().zip(&before) {
        let tag = before.header("ETag");
        let asked = visitor.request(Method::GET, path).header("If-None-Match", tag);
        let now: Answer = visitor.send(asked).await?;
        ensure!(now.status == StatusCode::OK, "{path}: {} for {tag}, which is of before the restore", now.status);
        ensure!(now.header("ETag") != tag, "{path}: the same tag {tag} for two contents");
        let text = now.text();
        ensure!(!text.contains("lost by the restore") && !text.contains("Lost title"), "{path} shows what was lost");
        let since = visitor.request(Method::GET, path).header("If-Modified-Since", before.header("Last-Modified"));
        let now = visitor.send(since).await?;
        ensure!(now.status == StatusCode::OK, "{path}: {} for a date of before the restore", now.status);
    }
    let page = visitor.get(paths.first().context("no paths")?).await?.text();
    ensure!(page.contains("said after the restore"), "{page}");
    Ok(())
}
