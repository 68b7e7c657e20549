//! `kubectl drain`: a node is emptied, and nobody notices. What others run on it stays: their data may be bound to it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::cluster::{
    OWN, Test,
    kubectl::{Component, Kubectl},
    load::{Tolerance, under_load},
};

pub(super) async fn run(test: &mut Test) -> Result<Option<String>> {
    let Some(node) = choose(&test.kubectl).await? else { return Ok(None) };
    test.drained = Some(node.clone());
    drain(test, &node).await.map(Some)
}

/// A node with app pods and nothing that keeps data, beside another that takes pods.
async fn choose(kubectl: &Kubectl) -> Result<Option<String>> {
    let nodes = kubectl.nodes().await?;
    let mut bound = BTreeSet::new();
    for component in [Component::Postgres, Component::Minio] {
        bound.extend(kubectl.pods(component).await?.into_iter().map(|pod| pod.node));
    }
    let with_app: BTreeSet<String> = kubectl.pods(Component::App).await?.into_iter().map(|pod| pod.node).collect();
    let takes_pods = |name: &String| nodes.get(name).is_some_and(|node| node.takes_pods);
    let others = nodes.keys().filter(|name| takes_pods(name)).count();
    Ok(with_app.into_iter().find(|name| takes_pods(name) && !bound.contains(name) && others > 1))
}

async fn drain(test: &Test, node: &str) -> Result<String> {
    let kubectl = &test.kubectl;
    let number = |component| async move { anyhow::Ok(kubectl.pods(component).await?.len()) };
    let (app, web) = (number(Component::App).await?, number(Component::Web).await?);
    let (moved, load) = under_load(&test.board, "drain", Tolerance::Nothing, async |load| {
        let before = kubectl.all_pods().await?.iter().filter(|pod| pod.node == node).count();
        let ours = format!("--pod-selector={}={}", OWN.0, OWN.1);
        kubectl.run(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=3m", &ours]).await?;
        kubectl.settled(Component::App, app).await?;
        kubectl.settled(Component::Web, web).await?;
        let after: Vec<_> = kubectl.all_pods().await?.into_iter().filter(|pod| pod.node == node).collect();
        ensure!(after.is_empty(), "the drained node still has {after:?}");
        load.more(20).await?;
        Ok(before)
    })
    .await?;
    let pods = kubectl.settled(Component::App, app).await?;
    let verified = test.board.verify(&load.threads, &pods).await?;
    Ok(format!("{moved} pods left {node}; {load}; {verified}"))
}
