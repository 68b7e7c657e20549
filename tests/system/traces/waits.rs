//! What a request waited for is in its line in the log. Every wait here lasts until the test has measured a while, so its length
//! has a lower bound whatever the machine does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use triptych_tests::{Form, TcpProxy, Visitor, http::JSON};

use super::told_slow;
use crate::{
    board::{small_picture, wait_until},
    servers::{Holder, Servers},
};

/// How long something is waited for at the least.
const WAIT: Duration = Duration::from_millis(300);

/// Every request is told.
const ALL: (&str, &str) = ("TRIPTYCH_SLOW_REQUEST", "0s");

fn milliseconds(line: &Value, field: &str) -> u64 {
    line.get(field).and_then(Value::as_u64).unwrap_or_default()
}

/// Checks that a request waited that long for this, and that the line says nothing of what it did not wait for.
fn waited(line: &Value, field: &str, others: &[&str]) -> Result<()> {
    let least = u64::try_from(WAIT.as_millis())? - 100;
    ensure!(milliseconds(line, field) >= least, "{field} is not {least} ms or more: {line:#}");
    for other in others {
        ensure!(line.get(*other).is_none(), "{other} was not waited for: {line:#}");
    }
    ensure!(line.get("level").and_then(Value::as_str) == Some("WARN"), "not a warning: {line:#}");
    ensure!(line.pointer("/span/trace_id").is_some() && line.pointer("/span/route").is_some(), "{line:#}");
    let all = line.get("milliseconds").and_then(Value::as_f64).context("no milliseconds")?;
    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
    let part = milliseconds(line, field) as f64;
    ensure!(all >= part, "{field} is more than all of it: {line:#}");
    Ok(())
}

#[tokio::test]
async fn a_post_that_waits_for_a_lock_waited_for_the_database() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers.replica(&[ALL]).await?;
    let visitor = Visitor::new(&replica.url())?.accepting(JSON);
    let thread = visitor.must_post("b", &Form::thread("wait here").picture(&small_picture(1)?)).await?.no;

    let holder =
        Holder::begin(&servers, &format!("select from thread_state where thread_no = {thread} for update")).await?;
    let form = Form::reply(thread, "late");
    let releasing = async {
        servers.wait_for_waiting(1).await?;
        sleep(WAIT).await;
        holder.roll_back().await
    };
    let (answer, ()) = tokio::try_join!(visitor.post("b", &form), releasing)?;
    answer.expect(StatusCode::CREATED)?;
    let line = told_slow(&replica, &answer).await?;
    waited(&line, "database_ms", &["decoding_ms", "s3_put_ms", "inspection_ms"])?;
    // It is posted by a task of its own, which waits for every replica at its end.
    ensure!(milliseconds(&line, "commit_wait_ms") >= 20, "{line:#}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_finds_no_connection_waited_for_the_pool() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers.replica(&[ALL, ("TRIPTYCH_DATABASE_CONNECTIONS", "2")]).await?;
    let visitor = Visitor::new(&replica.url())?.accepting(JSON);
    let form = Form::thread("wait here").field("pwd", "a password").picture(&small_picture(1)?);
    let thread = visitor.must_post("b", &form).await?.no;
    let picture = sqlx::query_scalar::<_, uuid::Uuid>("select blob_id from attachment limit 1");
    let picture = picture.fetch_one(&mut servers.connect().await?).await?;

    let holder =
        Holder::begin(&servers, &format!("select from thread_state where thread_no = {thread} for update")).await?;
    // Each holds a connection while it waits for the lock.
    let delete = Form::new().field("no", &thread.to_string()).field("pwd", "a password");
    let deleting =
        async { anyhow::Ok(tokio::join!(visitor.submit("/b/delete", &delete), visitor.submit("/b/delete", &delete))) };
    let (path, client) = (format!("/media/{picture}.jpg"), visitor.clone());
    let asking = async {
        servers.wait_for_waiting(2).await?;
        let begun = Instant::now();
        let asking = tokio::spawn(async move { client.get(&path).await });
        in_flight(&visitor, &replica.metrics_url(), 3).await?;
        sleep(WAIT.saturating_sub(begun.elapsed()).max(WAIT)).await;
        holder.roll_back().await?;
        asking.await?
    };
    let (_, answer) = tokio::try_join!(deleting, asking)?;
    let line = told_slow(&replica, &answer).await?;
    waited(&line, "pool_ms", &["decoding_ms", "commit_wait_ms", "body_ms"])?;
    Ok(())
}

/// Waits until so many requests are being answered.
async fn in_flight(visitor: &Visitor, metrics: &str, number: u32) -> Result<()> {
    let client = visitor.at(metrics);
    wait_until(&format!("{number} requests"), || async {
        Ok(client.get("").await?.text().contains(&format!("triptych_http_requests_in_flight {number}\n")))
    })
    .await
}

#[tokio::test]
async fn a_request_that_is_given_up_is_told_too() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let proxy = TcpProxy::start(servers.postgres.port()).await?;
    let through = servers.database_url().replace(&servers.postgres.port().to_string(), &proxy.port().to_string());
    let replica = servers.replica(&[("TRIPTYCH_SLOW_REQUEST", "200ms"), ("TRIPTYCH_DATABASE_URL", &through)]).await?;
    let visitor = Visitor::new(&replica.url())?;
    visitor.get("/b/").await?.expect(StatusCode::OK)?;
    proxy.fall_silent();
    // What was asked before is of use for 20 ms.
    sleep(WAIT).await;
    let caller = super::Caller::new();
    let mut connection = TcpStream::connect(replica.address()).await?;
    let head = format!("GET /b/ HTTP/1.1\r\nHost: board\r\ntraceparent: {}\r\n\r\n", caller.header("00"));
    connection.write_all(head.as_bytes()).await?;
    // A replica waits for three seconds before it says anything.
    sleep(WAIT * 2).await;
    // Not an end in good order, after which an answer could still be read.
    connection.set_zero_linger()?;
    drop(connection);
    let find = || {
        let lines = super::lines(&replica.log(), "trace_id", &caller.trace);
        lines
            .into_iter()
            .find(|line| line.get("message").and_then(Value::as_str).is_some_and(|text| text.contains("given up")))
    };
    wait_until("the line of a request that was given up", || async { Ok(find().is_some()) }).await?;
    let line = find().context("no line")?;
    ensure!(milliseconds(&line, "feed_ms") >= 200, "{line:#}");
    Ok(())
}
