//! `kubectl rollout restart`: all pods of app and web are replaced, and nobody notices.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::cluster::{
    FULL, Test,
    kubectl::{Component, Kubectl, Pod},
    load::{Tolerance, under_load},
};

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let kubectl = &test.kubectl;
    let (pods, load) = under_load(&test.board, "restart", Tolerance::Nothing, async |load| {
        let mut replaced = Vec::new();
        for component in [Component::App, Component::Web] {
            let before = kubectl.pods(component).await?;
            let deployment = format!("deployment/{FULL}-{}", component.label());
            kubectl.run(&["rollout", "restart", &deployment]).await?;
            kubectl.run(&["rollout", "status", &deployment, "--timeout=4m"]).await?;
            replaced.extend(all_new(kubectl, component, &before).await?);
            load.more(20).await?;
        }
        Ok(replaced.len())
    })
    .await?;
    let app = kubectl.pods(Component::App).await?;
    let verified = test.board.verify(&load.threads, &app).await?;
    Ok(format!("{pods} pods replaced; {load}; {verified}"))
}

/// Waits until none of the pods of before is left and as many others have taken their place.
pub(super) async fn all_new(kubectl: &Kubectl, component: Component, before: &[Pod]) -> Result<Vec<Pod>> {
    let after = kubectl.settled(component, before.len()).await?;
    let old: BTreeSet<&String> = before.iter().map(|pod| &pod.uid).collect();
    let kept: Vec<&Pod> = after.iter().filter(|pod| old.contains(&pod.uid)).collect();
    ensure!(kept.is_empty(), "these pods were to be replaced: {kept:?}");
    Ok(after)
}
