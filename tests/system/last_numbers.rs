//! Numbers that end: those of boards, of which no start of a pod may use up any.

use anyhow::{Context as _, Result, ensure};

use crate::servers::{Holder, Servers};

const LAST_BOARD: i64 = 32_767;

/// The migration that mends the sequence of board ids.
const MENDING: &str = "20261126000001";

/// A list of the three usual boards and some more.
fn with(more: &[&str]) -> String {
    let slugs = crate::board::SLUGS.iter().chain(more);
    let boards: Vec<_> = slugs.map(|slug| serde_json::json!({"slug": slug, "title": slug})).collect();
    serde_json::json!(boards).to_string()
}

#[tokio::test]
async fn no_start_of_a_pod_uses_up_a_board_id() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    // Near the end, where thousands of starts would have led, one that uses ids up fails soon.
    servers.execute(&format!("select setval('board_id_seq', {})", LAST_BOARD - 5)).await?;
    for start in 0..5 {
        let list = with(if start < 4 { &[] } else { &["new"] });
        servers.migrate(&[("TRIPTYCH_BOARDS", &list)]).await?;
    }
    assert_eq!(servers.count("select id::bigint from board where slug = 'new'").await?, LAST_BOARD - 4);
    // A title that changes needs no id either.
    servers.migrate(&[("TRIPTYCH_BOARDS", r#"[{"slug": "b", "title": "Another one"}]"#)]).await?;
    assert_eq!(servers.count("select count(*) from board where title = 'Another one'").await?, 1);
    assert_eq!(servers.count("select last_value from board_id_seq").await?, LAST_BOARD - 4);
    Ok(())
}

#[tokio::test]
async fn board_ids_that_were_used_up_are_given_back() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    // As a site is found whose pods started a few thousand times before.
    servers.execute(&format!("delete from _sqlx_migrations where version = {MENDING}")).await?;
    servers.execute(&format!("select setval('board_id_seq', {LAST_BOARD} - 1)")).await?;
    // The release before runs meanwhile, and is just making a board with the last id.
    let make = "select from site_state for update;
                insert into board (slug, title, description, position, locked) values ('last', 'Last', '', 9, false)";
    let holder = Holder::begin(&servers, make).await?;
    let list = with(&["new"]);
    let values = [("TRIPTYCH_BOARDS", list.as_str())];
    tokio::try_join!(servers.migrate(&values), holder.roll_back_when(&servers, 1))?;
    assert_eq!(servers.count("select id::bigint from board where slug = 'new'").await?, 4, "the next id");

    // The same once more, but the board is made after all: its id is not given twice.
    servers.execute(&format!("delete from _sqlx_migrations where version = {MENDING}")).await?;
    servers.execute("select setval('board_id_seq', 99)").await?;
    let holder = Holder::begin(&servers, make).await?;
    let list = with(&["newest"]);
    let values = [("TRIPTYCH_BOARDS", list.as_str())];
    tokio::try_join!(servers.migrate(&values), holder.commit_when(&servers, 1))?;
    assert_eq!(servers.count("select id::bigint from board where slug = 'newest'").await?, 101, "the next id");
    Ok(())
}

#[tokio::test]
async fn a_board_for_which_there_is_no_id_is_refused_at_once_and_clearly() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    servers.execute(&format!("select setval('board_id_seq', {LAST_BOARD})")).await?;
    let told = servers.refusal(&[("TRIPTYCH_MIGRATE_WAIT", "1h"), ("TRIPTYCH_BOARDS", &with(&["new"]))]).await?;
    let last = told.lines().last().context("nothing is told")?;
    ensure!(
        last.contains("board_ids_exhausted") && last.contains("32767"),
        "the last line does not say what is wrong:\n{told}"
    );
    ensure!(!told.contains("trying again"), "it was tried again:\n{told}");
    // Those that are there go on.
    servers.migrate(&[("TRIPTYCH_BOARDS", &with(&[]))]).await?;
    Ok(())
}
