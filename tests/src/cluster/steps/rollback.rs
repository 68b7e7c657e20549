//! `helm rollback` to the release before and an upgrade again: the release before lives with the newer schema, and nobody notices.

use anyhow::{Context as _, Result, ensure};

use super::{install::generated, restart::all_new, upgrade::storage};
use crate::cluster::{
    FULL, Test,
    kubectl::Component,
    load::{Tolerance, under_load},
};

/// What was installed first.
const REVISION: u32 = 1;

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let kubectl = &test.kubectl;
    // Whoever has changed the number of replicas owns it, and Helm does not take it away.
    let wanted = test.values.pointer("/app/replicas").and_then(serde_json::Value::as_u64).context("no replicas")?;
    let wanted = usize::try_from(wanted)?;
    kubectl.run(&["scale", &format!("deployment/{FULL}-app"), &format!("--replicas={wanted}")]).await?;
    kubectl.settled(Component::App, wanted).await?;
    let (credentials, storage) = (generated(test).await?, storage(test).await?);
    let (_, load) = under_load(&test.board, "rollback", Tolerance::PoliteRefusals, async |load| {
        let before = kubectl.staying(Component::App).await?;
        test.helm.rollback(REVISION).await?;
        let back = all_new(kubectl, Component::App, &before).await?;
        load.more(20).await?;
        test.helm.upgrade(&test.options.chart, &test.values).await?;
        all_new(kubectl, Component::App, &back).await?;
        load.more(20).await
    })
    .await?;
    ensure!(generated(test).await? == credentials, "the credentials have changed");
    let replaced = self::storage(test).await? != storage;
    ensure!(replaced || load.refused() == 0, "requests were refused while Postgres and MinIO ran: {load}");
    let pods = kubectl.settled(Component::App, wanted).await?;
    let verified = test.board.verify(&load.threads, &pods).await?;
    let from = test.options.previous_tag().unwrap_or("the chart of before");
    Ok(format!("to {from} and forward again; {load}; {verified}"))
}
