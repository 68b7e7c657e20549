//! `triptych gc` removes nothing when so much is unknown to its database that this may be an older one.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::Executor as _;

use crate::{
    board::{objects, post_pictures, wait_until},
    servers::{Servers, tells},
};

#[tokio::test]
async fn an_older_database_does_not_remove_what_it_has_forgotten() -> Result<()> {
    const SINCE: u64 = 51;
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers.replica(&[]).await?;
    post_pictures(&replica, 1, 3).await?;
    replica.terminate().await?;
    // A copy is what restoring a dump comes to.
    wait_until("nobody uses the database any more, and it is copied", || async {
        servers.pooler_lets_go().await?;
        let mut server = servers.postgres.connect("postgres").await?;
        Ok(server.execute("create database older template board").await.is_ok())
    })
    .await?;
    let kept = objects(&servers.s3).await?;
    replica.start()?;
    replica.wait_ready().await?;
    post_pictures(&replica, 100, SINCE).await?;
    replica.terminate().await?;

    let url = servers.postgres.url("older");
    let values = [("TRIPTYCH_DATABASE_URL", url.as_str())];
    // One of its pictures hangs on no post, so there is something to remove besides.
    let mut older = servers.postgres.connect("older").await?;
    older.execute("delete from attachment where post_no = (select min(post_no) from attachment)").await?;
    let before = servers.s3.keys("").await?;
    let words = ["nothing was removed", "102 of 108", "1%", "TRIPTYCH_GC_MOST_ORPHANS", "--all-orphans"];
    tells(&servers.failure(&["gc", "--no-grace"], &values).await?, &words)?;
    assert_eq!(servers.s3.keys("").await?, before, "objects");
    let blobs: i64 = sqlx::query_scalar("select count(*) from blob").fetch_one(&mut older).await?;
    assert_eq!(blobs, 3, "rows of pictures");
    // It is the same installation, so it can be served.
    servers.migrate(&values).await?;
    let replica = servers.replica(&values).await?;
    post_pictures(&replica, 200, 1).await?;
    replica.terminate().await?;

    servers.run(&["gc", "--no-grace", "--all-orphans"], &values).await?;
    let left = objects(&servers.s3).await?;
    assert_eq!(left.len(), 6, "objects: two of three pictures, and the new one");
    assert_eq!(left.iter().filter(|key| kept.contains(key)).count(), 4, "objects that the older database knows");
    Ok(())
}

#[tokio::test]
async fn a_share_that_is_allowed_is_collected() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let cut_off = async |number: u128| {
        let key = format!("thumbnail/{}", uuid::Uuid::from_u128(number));
        servers.s3.put(&key, "an upload that was cut off").await
    };
    for number in 0..100 {
        cut_off(number).await?;
    }
    servers.run(&["gc", "--no-grace"], &[]).await?;
    assert_eq!(objects(&servers.s3).await?, Vec::<String>::new(), "a hundred may always go");
    for number in 0..101 {
        cut_off(number).await?;
    }
    tells(&servers.failure(&["gc", "--no-grace"], &[]).await?, &["101 of 101"])?;
    // Those that are young do not count: their row may be about to be written.
    servers.run(&["gc"], &[]).await?;
    assert_eq!(objects(&servers.s3).await?.len(), 101, "objects");
    servers.run(&["gc", "--no-grace"], &[("TRIPTYCH_GC_MOST_ORPHANS", "100%")]).await?;
    assert_eq!(objects(&servers.s3).await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_collection_waits_for_servers_that_are_there_a_moment_later() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    servers.postgres.stop().await?;
    servers.s3.stop().await?;
    let (told, ()) = tokio::try_join!(servers.run(&["gc"], &[]), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        servers.postgres.start().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        servers.s3.start().await
    })?;
    ensure!(told.contains("trying again") && told.contains("collected"), "{told}");
    Ok(())
}
