//! `kubectl drain`: a node is emptied, and nobody notices. What others run on it stays: their data may be bound to it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};

use crate::cluster::{
    FULL, OWN, Test,
    kubectl::{Component, Kubectl, Pod},
    load::{Tolerance, under_load},
    slow_uploads::SlowUploads,
};

/// How long an upload goes on after the pods were asked to leave the node; the values of the test give it twice that.
const AFTER_EVICTION: Duration = Duration::from_secs(30);

pub(super) async fn run(test: &mut Test) -> Result<Option<String>> {
    let kubectl = &test.kubectl;
    let Some(node) = choose(kubectl).await? else { return Ok(None) };
    let has_app = |pods: &[Pod]| pods.iter().any(|pod| pod.node == node);
    let before = kubectl.staying(Component::App).await?;
    if !has_app(&before) {
        // Pods that were killed have left it to the others. New ones are spread.
        let deployment = format!("deployment/{FULL}-app");
        kubectl.run(&["rollout", "restart", &deployment]).await?;
        kubectl.run(&["rollout", "status", &deployment, "--timeout=3m"]).await?;
        let after = kubectl.settled(Component::App, before.len()).await?;
        ensure!(has_app(&after), "no app pod is placed on {node}, which is free: {after:?}");
    }
    test.drained = Some(node.clone());
    drain(test, &node).await.map(Some)
}

/// A node that takes pods and has nothing that keeps data, beside another that takes pods.
async fn choose(kubectl: &Kubectl) -> Result<Option<String>> {
    let mut bound = BTreeSet::new();
    for component in [Component::Postgres, Component::Minio] {
        bound.extend(kubectl.pods(component).await?.into_iter().map(|pod| pod.node));
    }
    let nodes = kubectl.nodes().await?;
    let usable: Vec<&String> = nodes.iter().filter(|(_, node)| node.takes_pods).map(|(name, _)| name).collect();
    Ok(usable.iter().find(|name| usable.len() > 1 && !bound.contains(**name)).map(|name| (*name).clone()))
}

async fn drain(test: &Test, node: &str) -> Result<String> {
    let kubectl = &test.kubectl;
    let number = |component| async move { anyhow::Ok(kubectl.staying(component).await?.len()) };
    let (app, web) = (number(Component::App).await?, number(Component::Web).await?);
    let ((moved, uploads), load) = under_load(&test.board, "drain", Tolerance::Nothing, async |load| {
        let before = kubectl.all_pods().await?.iter().filter(|pod| pod.node == node).count();
        let ours = format!("--pod-selector={}={}", OWN.0, OWN.1);
        let slow = SlowUploads::begin(&test.board, "drain").await?;
        let draining = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=3m", &ours];
        // Draining takes until the last pod is gone, and a web server stays for as long as it lets an upload take.
        let finishing = async {
            tokio::time::sleep(AFTER_EVICTION).await;
            slow.finish().await
        };
        let (_, uploads) = tokio::try_join!(kubectl.run(&draining), finishing)?;
        kubectl.settled(Component::App, app).await?;
        kubectl.settled(Component::Web, web).await?;
        let after: Vec<_> = kubectl.all_pods().await?.into_iter().filter(|pod| pod.node == node).collect();
        ensure!(after.is_empty(), "the drained node still has {after:?}");
        load.more(20).await?;
        Ok((before, uploads))
    })
    .await?;
    let pods = kubectl.settled(Component::App, app).await?;
    let verified = test.board.verify(&load.threads, &pods).await?;
    Ok(format!("{moved} pods left {node}, {uploads} slow uploads on the way; {load}; {verified}"))
}
