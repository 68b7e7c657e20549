//! `helm upgrade` to the chart under test, with another title: the credentials stay, and nobody notices but for the
//! title.

use anyhow::{Context as _, Result, ensure};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{install::generated, restart::all_new};
use crate::cluster::{
    Test,
    client::Ask,
    kubectl::{Component, Pod},
    load::{Tolerance, under_load},
};

const TITLE: &str = "After";

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let credentials = generated(test).await?;
    let before = test.kubectl.staying(Component::App).await?;
    let mut values = test.values.clone();
    values.as_object_mut().context("the values are no object")?.insert("title".into(), json!(TITLE));
    // As many as there are: the number belongs to whoever has scaled last.
    if let Some(replicas) = values.pointer_mut("/app/replicas") {
        *replicas = json!(before.len());
    }
    // The chart of before may have another Postgres: its one pod is then replaced, and meanwhile nobody can post.
    let storage = storage(test).await?;
    let tolerance =
        if test.options.previous_chart().is_some() { Tolerance::PoliteRefusals } else { Tolerance::Nothing };
    let (app, load) = under_load(&test.board, "upgrade", tolerance, async |load| {
        test.helm.upgrade(&test.options.chart, &values).await?;
        let app = all_new(&test.kubectl, Component::App, &before).await?;
        load.more(20).await?;
        Ok(app)
    })
    .await?;
    let replaced = self::storage(test).await? != storage;
    ensure!(replaced || load.refused() == 0, "requests were refused while Postgres and MinIO ran: {load}");
    test.values = values;
    let after = generated(test).await?;
    let kept = credentials.as_object().context("the credentials are no object")?;
    ensure!(kept.iter().all(|(key, value)| after.get(key) == Some(value)), "the credentials have changed");
    // The role of the replicas came with a later chart than the first.
    ensure!(after.get("postgresql-serve-password").is_some(), "the replicas have no password of their own");
    let mut sites = vec![("the Ingress", test.board.visitor())];
    sites.extend(app.iter().map(|pod| (pod.name.as_str(), test.board.at(pod))));
    for (site, client) in &mut sites {
        let shown = client.must(&Ask::page("/"), StatusCode::OK).await?.texts("title")?.concat();
        ensure!(shown.contains(TITLE), "the home page of {site} is called {shown:?}");
    }
    let verified = test.board.verify(&load.threads, &app).await?;
    let keys = kept.len();
    let title = test.values.get("title").and_then(Value::as_str).unwrap_or_default();
    let storage = if replaced { "Postgres or MinIO replaced" } else { "Postgres and MinIO untouched" };
    Ok(format!("{storage}, {keys} credentials kept, title {title:?} everywhere; {load}; {verified}"))
}

/// The pods that keep data.
pub(super) async fn storage(test: &Test) -> Result<Vec<Pod>> {
    let (postgres, minio) = (test.kubectl.settled(Component::Postgres, 1), test.kubectl.settled(Component::Minio, 1));
    Ok([postgres.await?, minio.await?].concat())
}
