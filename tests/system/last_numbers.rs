//! Numbers that end: those of posts, which clients read into an int32, and those of boards, of which no start of a pod
//! may use up any.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use triptych_tests::{
    Form, Replica, Visitor,
    http::{HTML, JSON},
};

use crate::{
    board::{find_post, json, metric, small_picture, thread_path, wait_until},
    servers::{Holder, Servers, refused},
    shared::check_error_page,
};

const LAST_POST: i64 = 2_147_483_647;
const LAST_BOARD: i64 = 32_767;

/// Checks a metric that is a whole number. A replica that is busy may tell the one before for a moment.
async fn measures(replica: &Replica, name: &str, value: i64) -> Result<()> {
    wait_until(&format!("{name} is {value}"), || async {
        Ok(format!("{:.0}", metric(replica, name).await?) == value.to_string())
    })
    .await
}

/// The migration that mends the sequence of board ids.
const MENDING: &str = "20261126000001";

#[tokio::test]
async fn the_last_post_number_is_given_and_then_everybody_is_told() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers.replica(&[]).await?;
    let site = Visitor::new(&replica.url())?;
    let thread = site.must_post("b", &Form::thread("the last thread").picture(&small_picture(1)?)).await?.no;
    measures(&replica, "triptych_post_number", thread).await?;
    measures(&replica, "triptych_post_number_limit", LAST_POST).await?;

    servers.execute(&format!("select setval('post_no', {})", LAST_POST - 1)).await?;
    let last = site.must_post("b", &Form::reply(thread, "the last reply")).await?;
    assert_eq!(last.no, LAST_POST);
    let document = json(&site.get(&thread_path(&last, "json")).await?)?;
    ensure!(find_post(&document, last.no).is_some(), "the last reply is not in its thread");

    let objects = servers.s3.keys("").await?;
    for form in [Form::reply(thread, "one too many"), Form::thread("one too many").picture(&small_picture(2)?)] {
        // Not to be sent again by itself: it will not work in two seconds either.
        let answer = site.accepting(JSON).post("b", &form).await?;
        refused(&answer, 507, "post_numbers_exhausted")?;
        assert_eq!(answer.header("Retry-After"), "");
        let page = site.accepting(HTML).post("b", &form).await?;
        check_error_page(&page, 507)?;
        let typed = page.texts("textarea[name=com]")?;
        ensure!(typed.iter().any(|typed| typed.trim() == "one too many"), "what was typed is lost: {typed:?}");
    }
    assert_eq!(servers.s3.keys("").await?, objects, "objects: those of the refused posts were taken back");
    assert_eq!(servers.count("select count(*) from post").await?, 2, "posts");
    site.get(&thread_path(&last, "html")).await?.expect(StatusCode::OK)?;
    measures(&replica, "triptych_post_number", LAST_POST).await?;
    ensure!(replica.log().contains("post_no"), "the log does not tell the operator:\n{}", replica.log());
    Ok(())
}

#[tokio::test]
async fn the_number_of_the_newest_post_is_told_while_postgres_is_away() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    servers.execute("select setval('post_no', 4711)").await?;
    let replica = servers.replica(&[]).await?;
    measures(&replica, "triptych_post_number", 4711).await?;
    servers.postgres.stop().await?;
    measures(&replica, "triptych_post_number", 4711).await
}

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
        last.contains("no board can be added") && last.contains("32767"),
        "the last line does not say what is wrong:\n{told}"
    );
    ensure!(!told.contains("trying again"), "it was tried again:\n{told}");
    // Those that are there go on.
    servers.migrate(&[("TRIPTYCH_BOARDS", &with(&[]))]).await?;
    Ok(())
}
