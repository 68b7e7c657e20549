//! A bucket belongs to one installation: no other database writes to it or removes anything from it.

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use reqwest::StatusCode;
use triptych_tests::{Form, Replica, Visitor, http::JSON, replica, scratch::Scratch};

use crate::{
    board::{objects, post_pictures, small_picture, wait_until},
    servers::{Servers, tells},
};

/// The object that says to which installation all others belong.
const MARKER: &str = "installation";

/// The address of another database on the same server, and what it says to which installation it belongs.
struct Database {
    url: String,
    id: String,
}

impl Database {
    /// One whose schema is there, with a bucket of its own.
    async fn with_own_bucket(servers: &Servers, name: &str) -> Result<Self> {
        let url = servers.postgres.create_database(name).await?;
        servers.migrate(&[("TRIPTYCH_DATABASE_URL", &url), ("TRIPTYCH_S3_BUCKET", name)]).await?;
        let id = id(servers, name).await?;
        Ok(Self { url, id })
    }

    /// With everything but the database as the first installation has it.
    fn values(&self) -> [(&'static str, &str); 1] {
        [("TRIPTYCH_DATABASE_URL", &self.url)]
    }
}

async fn id(servers: &Servers, database: &str) -> Result<String> {
    let mut connection = servers.postgres.connect(database).await?;
    Ok(sqlx::query_scalar("select id::text from installation").fetch_one(&mut connection).await?)
}

async fn marker(servers: &Servers, key: &str) -> Result<String> {
    Ok(String::from_utf8(servers.s3.get(key).await?.to_vec())?)
}

#[tokio::test]
async fn nothing_is_written_to_or_removed_from_the_bucket_of_another_database() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let production = servers.replica(&[]).await?;
    post_pictures(&production, 1, 2).await?;
    let ours = id(&servers, "board").await?;
    assert_eq!(marker(&servers, MARKER).await?, ours);
    let before = servers.s3.keys("").await?;

    let staging = Database::with_own_bucket(&servers, "staging").await?;
    let both = [ours.as_str(), staging.id.as_str(), "another installation", "--claim-bucket", "TRIPTYCH_S3_PREFIX"];
    tells(&servers.failure(&["gc", "--no-grace"], &staging.values()).await?, &both)?;
    tells(&servers.failure(&["gc", "--no-grace", "--all-orphans"], &staging.values()).await?, &both)?;
    tells(&servers.failure(&["migrate"], &staging.values()).await?, &both)?;

    let scratch = Scratch::new("staging")?;
    let environment = servers.environment(&staging.values());
    let mistaken = Replica::new("mistaken", &replica::binary()?, &environment, scratch.path())?;
    mistaken.start()?;
    wait_until("the replica says what is wrong", || async { Ok(mistaken.log().contains(&ours)) }).await?;
    tells(&mistaken.log(), &both)?;
    let visitor = Visitor::new(&mistaken.url())?.accepting(JSON);
    let ready = visitor.get("/readyz").await?;
    ready.expect(StatusCode::SERVICE_UNAVAILABLE)?;
    ensure!(ready.text().contains("bucket"), "/readyz says {:?}", ready.text());
    visitor.get("/livez").await?.expect(StatusCode::OK)?;
    // Whoever comes past what asks for readiness.
    let form = Form::thread("in the wrong bucket").picture(&small_picture(3)?);
    visitor.post("b", &form).await?.expect_polite_refusal(JSON)?;
    mistaken.terminate().await?;
    assert_eq!(servers.s3.keys("").await?, before, "objects: all, and no others");

    // The one whose bucket it is notices nothing.
    servers.run(&["gc", "--no-grace"], &[]).await?;
    servers.migrate(&[]).await?;
    assert_eq!(servers.s3.keys("").await?, before, "objects");
    post_pictures(&production, 4, 1).await?;

    // If it is meant to be so, the other one gets it, and then the first one has to leave it alone.
    servers.run(&["migrate", "--claim-bucket"], &staging.values()).await?;
    assert_eq!(marker(&servers, MARKER).await?, staging.id);
    let before = servers.s3.keys("").await?;
    tells(&servers.failure(&["gc", "--no-grace"], &[]).await?, &both)?;
    tells(&servers.failure(&["migrate"], &[]).await?, &both)?;
    assert_eq!(servers.s3.keys("").await?, before, "objects");
    Ok(())
}

#[tokio::test]
async fn a_full_bucket_that_nobody_has_claimed_goes_to_the_database_that_knows_its_pictures() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    post_pictures(&servers.replica(&[]).await?, 1, 3).await?;
    // As a release left them that did not know of claims. An upload was cut off.
    servers.s3.delete(MARKER).await?;
    servers.execute("drop table installation; delete from _sqlx_migrations where description = 'installation'").await?;
    servers.s3.put(&format!("original/{}", uuid::Uuid::from_u128(1)), "an upload that was cut off").await?;
    let before = servers.s3.keys("").await?;
    assert_eq!(before.len(), 7, "objects: three pictures, and one that was cut off");

    tells(&servers.failure(&["gc", "--no-grace"], &[]).await?, &["triptych migrate"])?;
    let fresh = Database::with_own_bucket(&servers, "fresh").await?;
    let words = ["7 of the 7", fresh.id.as_str(), "--claim-bucket", "TRIPTYCH_S3_PREFIX"];
    tells(&servers.failure(&["migrate"], &fresh.values()).await?, &words)?;
    tells(&servers.failure(&["gc", "--no-grace"], &fresh.values()).await?, &["triptych migrate"])?;
    assert_eq!(servers.s3.keys("").await?, before, "objects");

    servers.migrate(&[]).await?;
    assert_eq!(marker(&servers, MARKER).await?, id(&servers, "board").await?);
    servers.run(&["gc", "--no-grace"], &[]).await?;
    assert_eq!(objects(&servers.s3).await?.len(), 6, "objects: the pictures");
    Ok(())
}

#[tokio::test]
async fn one_of_several_databases_gets_a_bucket_that_they_claim_at_once() -> Result<()> {
    let servers = Servers::start().await?;
    let mut databases = Vec::new();
    for name in ["one", "two", "three"] {
        databases.push(Database::with_own_bucket(&servers, name).await?);
    }
    let claims = databases.iter().chain(&databases);
    let claimed = join_all(claims.map(|database| async { servers.migrate(&database.values()).await })).await;
    ensure!(claimed.iter().any(Result::is_ok), "{claimed:?}");
    // The server of the tests looks and writes in two steps, so two may have believed that they were first. Not for long.
    let owner = marker(&servers, MARKER).await?;
    for database in &databases {
        let again = servers.migrate(&database.values()).await;
        assert_eq!(again.is_ok(), database.id == owner, "{} of {owner}: {again:?}", database.id);
    }
    ensure!(databases.iter().any(|database| database.id == owner), "{owner} is nobody");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_starts_while_the_picture_store_is_away_shows_pages_and_takes_pictures_when_it_is_back()
-> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let ready = servers.replica(&[]).await?;
    let thread =
        Visitor::new(&ready.url())?.must_post("b", &Form::thread("a picture").picture(&small_picture(7)?)).await?.no;
    servers.s3.stop().await?;
    let scratch = Scratch::new("late")?;
    let late = Replica::new("late", &replica::binary()?, &servers.environment(&[]), scratch.path())?;
    late.start()?;
    late.wait_ready().await?;
    ensure!(late.log().contains("not verified: the bucket"), "the log does not say what it waits for:\n{}", late.log());
    let (visitor, pid) = (Visitor::new(&late.url())?, late.pid());
    visitor.must_post("b", &Form::reply(thread, "a text")).await?;
    let form = Form::reply(thread, "a picture").picture(&small_picture(8)?);
    visitor.accepting(JSON).post("b", &form).await?.expect_polite_refusal(JSON)?;
    // What was ready stays so.
    Visitor::new(&ready.url())?.get("/readyz").await?.expect(StatusCode::OK)?;
    servers.s3.start().await?;
    wait_until("the bucket is verified", || async { Ok(late.log().contains("schema and bucket are verified")) })
        .await?;
    assert_eq!(late.pid(), pid, "it was not restarted");
    post_pictures(&late, 1, 1).await?;
    Ok(())
}
