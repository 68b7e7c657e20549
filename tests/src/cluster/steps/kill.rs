//! Promises 1, 3 and 4: app pods are killed without grace. Requests may fail; nothing that was acknowledged is lost,
//! and no post is without its picture.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cluster::{
    FULL, Test,
    kubectl::{Component, Kubectl, LIMIT, Pod},
    load::{Tolerance, under_load},
};

const ROUNDS: usize = 6;
const REPLICAS: usize = 3;

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let kubectl = &test.kubectl;
    kubectl.run(&["scale", &format!("deployment/{FULL}-app"), &format!("--replicas={REPLICAS}")]).await?;
    kubectl.settled(Component::App, REPLICAS).await?;
    let ((), load) = under_load(&test.board, "kill", Tolerance::Anything, async |load| {
        for _ in 0..ROUNDS {
            let pod = any_ready(kubectl).await?;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
            kubectl.run(&["delete", "pod", &pod.name, "--grace-period=0", "--force", "--wait=false"]).await?;
            load.more(10).await?;
        }
        kubectl.settled(Component::App, REPLICAS).await?;
        load.more(20).await?;
        Ok(())
    })
    .await?;
    let pods = kubectl.settled(Component::App, REPLICAS).await?;
    let verified = test.board.verify(&load.threads, &pods).await?;
    Ok(format!("{ROUNDS} pods killed; {load}; {verified}"))
}

/// One of the pods that are ready, as soon as there is one.
async fn any_ready(kubectl: &Kubectl) -> Result<Pod> {
    let start = Instant::now();
    loop {
        let mut ready = kubectl.pods(Component::App).await?;
        ready.retain(|pod| pod.ready && !pod.ending);
        if !ready.is_empty() {
            return Ok(ready.swap_remove(rand::random_range(0..ready.len())));
        }
        ensure!(start.elapsed() < LIMIT, "no app pod is ready after {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
