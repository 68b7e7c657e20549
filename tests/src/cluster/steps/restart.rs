//! `kubectl rollout restart`: all pods of app and web are replaced, and nobody notices, uploads on slow lines included.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};

use crate::cluster::{
    FULL, Test,
    kubectl::{Component, Kubectl, Pod},
    load::{Tolerance, under_load},
    slow_uploads::SlowUploads,
};

/// How much longer than the rollout of web an upload takes; the chart gives it `web.preStopSleepSeconds` in all.
const AFTER_WEB: Duration = Duration::from_secs(20);

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let kubectl = &test.kubectl;
    let ((pods, uploads), load) = under_load(&test.board, "restart", Tolerance::Nothing, async |load| {
        let (mut replaced, mut uploads) = (Vec::new(), 0);
        for component in [Component::App, Component::Web] {
            let slow = SlowUploads::begin(&test.board, "restart").await?;
            let before = kubectl.staying(component).await?;
            let deployment = format!("deployment/{FULL}-{}", component.label());
            kubectl.run(&["rollout", "restart", &deployment]).await?;
            kubectl.run(&["rollout", "status", &deployment, "--timeout=4m"]).await?;
            if component == Component::App {
                // None of the replicas of before is left when the last byte comes.
                replaced.extend(all_new(kubectl, component, &before).await?);
                uploads += slow.finish().await?;
            } else {
                // The controller's old workers know the web servers of before alone, which wait for what these still hand on.
                tokio::time::sleep(AFTER_WEB).await;
                uploads += slow.finish().await?;
                replaced.extend(all_new(kubectl, component, &before).await?);
            }
            load.more(20).await?;
        }
        Ok((replaced.len(), uploads))
    })
    .await?;
    let app = kubectl.pods(Component::App).await?;
    let verified = test.board.verify(&load.threads, &app).await?;
    Ok(format!("{pods} pods replaced, {uploads} slow uploads on the way; {load}; {verified}"))
}

/// Waits until none of the pods of before is left and as many others have taken their place.
pub(super) async fn all_new(kubectl: &Kubectl, component: Component, before: &[Pod]) -> Result<Vec<Pod>> {
    let after = kubectl.settled(component, before.len()).await?;
    let old: BTreeSet<&String> = before.iter().map(|pod| &pod.uid).collect();
    let kept: Vec<&Pod> = after.iter().filter(|pod| old.contains(&pod.uid)).collect();
    ensure!(kept.is_empty(), "these pods were to be replaced: {kept:?}");
    Ok(after)
}
