//! A Postgres that takes no writes: after a failover the old connections may lead to what was the primary, a standby
//! may be all that is left, and an operator may stop all writing. None of it is a defect of ours, and none of it needs
//! a restart.

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use triptych_tests::{
    Form, Replica, Visitor,
    http::{HTML, JSON},
};

use crate::{
    board::{objects, small_picture, wait_until},
    servers::Servers,
};

const PASSWORD: &str = "correct horse";

async fn start() -> Result<(Servers, Replica, Visitor, i64)> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers.replica(&[("TRIPTYCH_DATABASE_CONNECTIONS", "4")]).await?;
    let site = Visitor::new(&replica.url())?;
    let form = Form::thread("a thread to answer").field("pwd", PASSWORD).picture(&small_picture(1)?);
    let thread = site.must_post("b", &form).await?.no;
    Ok((servers, replica, site, thread))
}

/// Makes every session of the server read-only, those that are open too. They notice before their next statement.
async fn stop_writing(servers: &Servers) -> Result<()> {
    servers.execute("alter system set default_transaction_read_only = on").await?;
    servers.execute("select pg_reload_conf()").await?;
    // A session that begins with the new setting begins after all others were told of it.
    wait_until("the server has read its settings again", || async {
        let mut session = servers.postgres.connect("postgres").await?;
        let setting: String = sqlx::query_scalar("show transaction_read_only").fetch_one(&mut session).await?;
        Ok(setting == "on")
    })
    .await
}

#[tokio::test]
async fn after_a_failover_the_connections_to_the_old_primary_are_not_used_any_more() -> Result<()> {
    let (servers, _replica, site, thread) = start().await?;
    // Several connections that are open and idle.
    let asking = (0..8).map(|_| site.get("/"));
    for page in futures_util::future::try_join_all(asking).await? {
        page.expect(StatusCode::OK)?;
    }
    // New sessions can write, as those to a new primary; what is open before leads to a server that cannot any more.
    servers.execute("alter database board set default_transaction_read_only = off").await?;
    stop_writing(&servers).await?;
    servers.pooler_lets_go().await?;
    for number in 0..8 {
        site.must_post("b", &Form::reply(thread, &format!("on the new primary, {number}"))).await?;
    }
    Ok(())
}

#[tokio::test]
async fn while_nothing_can_be_written_pages_are_read_and_posts_are_told_to_come_back() -> Result<()> {
    let (servers, _replica, site, thread) = start().await?;
    let page = format!("/b/res/{thread}.html");
    stop_writing(&servers).await?;
    for accept in [HTML, JSON] {
        site.get(&page).await?.expect(StatusCode::OK)?;
        let form = Form::reply(thread, "not now").picture(&small_picture(2)?);
        site.accepting(accept).post("b", &form).await?.expect_polite_refusal(accept)?;
        let form = Form::new().field("no", &thread.to_string()).field("pwd", PASSWORD);
        site.accepting(accept).submit("/b/delete", &form).await?.expect_polite_refusal(accept)?;
    }
    assert_eq!(objects(&servers.s3).await?.len(), 2, "objects: those of the thread");
    servers.execute("alter system reset default_transaction_read_only").await?;
    servers.execute("select pg_reload_conf()").await?;
    wait_until("posts are taken again", || async {
        let answer = site.accepting(JSON).post("b", &Form::reply(thread, "now")).await?;
        Ok(answer.status == StatusCode::CREATED)
    })
    .await
}

#[tokio::test]
async fn a_standby_is_not_asked_because_what_it_shows_may_be_old() -> Result<()> {
    let (servers, replica, site, thread) = start().await?;
    let page = format!("/b/res/{thread}.html");
    site.get(&page).await?.expect(StatusCode::OK)?;
    servers.postgres.demote().await?;
    site.get(&page).await?.expect_older(HTML)?;
    site.get("/b/").await?.expect_polite_refusal(HTML)?;
    site.accepting(JSON).post("b", &Form::reply(thread, "not now")).await?.expect_polite_refusal(JSON)?;
    ensure!(replica.log().contains("standby"), "the log does not say why:\n{}", replica.log());
    servers.postgres.promote().await?;
    wait_until("pages are new again", || async { Ok(!site.get(&page).await?.is_older()) }).await?;
    site.get("/b/").await?.expect(StatusCode::OK)?;
    site.must_post("b", &Form::reply(thread, "on the new primary")).await?;
    Ok(())
}

#[tokio::test]
async fn with_the_strictest_settings_nothing_old_is_shown_and_streams_come_back() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let settings = [("TRIPTYCH_FEED_INTERVAL", "0ms"), ("TRIPTYCH_STALE_IF_ERROR", "0s")];
    let replica = servers.replica(&settings).await?;
    let site = Visitor::new(&replica.url())?;
    let thread = site.must_post("b", &Form::thread("strict").picture(&small_picture(3)?)).await?.no;
    let (page, events) = (format!("/b/res/{thread}.html"), format!("/b/res/{thread}/events"));
    for number in 0..5 {
        let no = site.must_post("b", &Form::reply(thread, &format!("reply {number}"))).await?.no;
        ensure!(site.get(&page).await?.text().contains(&format!("id=\"p{no}\"")), "No.{no} is not in its thread");
    }
    servers.postgres.demote().await?;
    site.get(&page).await?.expect_polite_refusal(HTML)?;
    site.accepting(JSON).get(&events).await?.expect_polite_refusal(JSON)?;
    // A browser would never come back after a 503.
    let stream = site.accepting("text/event-stream").get(&events).await?;
    stream.expect(StatusCode::OK)?;
    ensure!(stream.header("Content-Type") == "text/event-stream", "it is {}", stream.header("Content-Type"));
    ensure!(stream.text().starts_with("retry: "), "it is not told when to come back: {}", stream.text());
    servers.postgres.promote().await?;
    wait_until("pages are there again", || async { Ok(site.get(&page).await?.status == StatusCode::OK) }).await
}
