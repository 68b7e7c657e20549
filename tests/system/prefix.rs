//! `TRIPTYCH_S3_PREFIX`: boards that share a bucket do not touch each other's objects.

use anyhow::{Context as _, Result};
use reqwest::StatusCode;
use triptych_tests::{Form, Replica, Visitor, replica, scratch::Scratch};

use crate::{
    board::{find_post, json, objects, post_pictures, small_picture, text, thread_path},
    servers::Servers,
};

#[tokio::test]
async fn two_boards_share_a_bucket_with_a_prefix_of_their_own() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let whole = servers.replica(&[]).await?;
    post_pictures(&whole, 1, 2).await?;

    let url = servers.postgres.create_database("staging").await?;
    let values = [("TRIPTYCH_DATABASE_URL", url.as_str()), ("TRIPTYCH_S3_PREFIX", "boards/staging")];
    servers.migrate(&values).await?;
    servers.s3.get("boards/staging/installation").await?;
    servers.s3.get("installation").await?;
    let scratch = Scratch::new("staging")?;
    let part = Replica::new("part", &replica::binary()?, &servers.environment(&values), scratch.path())?;
    part.start()?;
    part.wait_ready().await?;
    // The same pictures, and one more.
    post_pictures(&part, 1, 3).await?;
    assert_eq!(servers.s3.keys("boards/staging/original/").await?.len(), 3, "originals below the prefix");
    assert_eq!(servers.s3.keys("boards/staging/thumbnail/").await?.len(), 3, "thumbnails below the prefix");
    assert_eq!(objects(&servers.s3).await?.len(), 4, "objects of the other board");

    let orphan = format!("original/{}", uuid::Uuid::from_u128(1));
    let orphan_below = format!("boards/staging/{orphan}");
    for key in [&orphan, &orphan_below] {
        servers.s3.put(key, "an upload that was cut off").await?;
    }
    let mut expected = servers.s3.keys("").await?;
    for (values, orphan) in [(&[][..], &orphan), (&values[..], &orphan_below)] {
        servers.run(&["gc", "--no-grace"], values).await?;
        expected.retain(|key| key != orphan);
        assert_eq!(servers.s3.keys("").await?, expected, "objects, after {values:?}");
    }
    for (replica, seed) in [(&whole, 11), (&part, 12)] {
        let visitor = Visitor::new(&replica.url())?;
        let posted = visitor.must_post("b", &Form::thread("shown").picture(&small_picture(seed)?)).await?;
        let document = json(&visitor.get(&thread_path(&posted, "json")).await?)?;
        let post = find_post(&document, posted.no).context("the post is not in its thread")?;
        for name in ["media", "thumb"] {
            visitor.get(&text(post, name)?).await?.expect(StatusCode::OK)?;
        }
    }
    Ok(())
}
