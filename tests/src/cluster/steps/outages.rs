//! Promise 6: while Postgres or the S3 server is away everybody is told so politely, and everything works again without
//! a restart.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::restart::all_new;
use crate::cluster::{
    Test,
    kubectl::{Component, Pod},
    load::{Tolerance, under_load},
};

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let mut told = Vec::new();
    for component in [Component::Postgres, Component::Minio] {
        told.push(restart(test, component).await.with_context(|| format!("while {} was away", component.label()))?);
    }
    Ok(told.join("; "))
}

async fn restart(test: &Test, component: Component) -> Result<String> {
    let kubectl = &test.kubectl;
    let before = kubectl.pods(Component::App).await?;
    let (took, load) = under_load(&test.board, "outage", Tolerance::PoliteRefusals, async |load| {
        let gone = kubectl.settled(component, 1).await?;
        let pod = gone.first().context("there is no pod")?;
        let start = Instant::now();
        kubectl.run(&["delete", "pod", &pod.name]).await?;
        all_new(kubectl, component, &gone).await?;
        load.more(20).await?;
        Ok(start.elapsed())
    })
    .await?;
    ensure!(load.refused() > 0, "nobody has noticed that it was away, so nothing was tested: {load}");
    let after = kubectl.settled(Component::App, before.len()).await?;
    let marks = |pods: &[Pod]| pods.iter().map(|pod| (pod.uid.clone(), pod.restarts)).collect::<Vec<_>>();
    ensure!(marks(&before) == marks(&after), "app pods were restarted: {before:?} {after:?}");
    let verified = test.board.verify(&load.threads, &after).await?;
    Ok(format!("{} back after {} s; {load}; {verified}", component.label(), took.as_secs()))
}
