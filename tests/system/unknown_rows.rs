//! Rows of a newer release that this one cannot read: told as a defect, with table and column in the log, and never as
//! "deleted" or by leaving something out.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use triptych_tests::{Form, Visitor, http::JSON};

use crate::{
    board::{find_post, json, small_picture, text, thread_path},
    servers::{Servers, refused},
};

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_it() -> Result<()> {
    let servers = Servers::start().await?;
    servers.migrate(&[]).await?;
    let replica = servers.replica(&[]).await?;
    let site = Visitor::new(&replica.url())?.accepting(JSON);
    let posted = site.must_post("b", &Form::thread("a picture of today").picture(&small_picture(1)?)).await?;
    let document = json(&site.get(&thread_path(&posted, "json")).await?)?;
    let media = text(find_post(&document, posted.no).context("no opening post")?, "media")?;
    let whole = ["/".to_owned(), "/b/".into(), thread_path(&posted, "json"), "/b/catalog.json".into()];
    let only_the_file = [media.clone(), media.replace("/media/", "/thumb/")];
    let changed = "update thread_state set version = version + 1; update board_state set version = version + 1";

    for (column, damaged, mended, paths) in [
        ("kind", "'avif'", "'jpg'", [&whole[..], &only_the_file].concat()),
        ("thumbnail_kind", "'avif'", "'jpg'", [&whole[..], &only_the_file].concat()),
        ("md5", "'\\x00'", "decode(md5('x'), 'hex')", whole.to_vec()),
    ] {
        // What is rendered is kept, so the pages have to change.
        servers.execute(&format!("update blob set {column} = {damaged}; {changed}")).await?;
        let before = replica.log().len();
        for path in &paths {
            let answer = site.get(path).await?;
            refused(&answer, 500, "internal").with_context(|| format!("{path} with {column} = {damaged}"))?;
        }
        let log = replica.log();
        let told = log.get(before..).unwrap_or_default();
        let lines = told.lines().filter(|line| line.contains("ERROR") && line.contains(&format!("blob.{column}")));
        assert!(lines.count() >= paths.len(), "blob.{column} is not in the log for each of {paths:?}:\n{told}");
        servers.execute(&format!("update blob set {column} = {mended}; {changed}")).await?;
        for path in &whole {
            site.get(path).await?.expect(StatusCode::OK).with_context(|| path.clone())?;
        }
    }
    ensure!(servers.count("select count(*) from attachment where blob_id is not null").await? == 1, "it is deleted");
    Ok(())
}
