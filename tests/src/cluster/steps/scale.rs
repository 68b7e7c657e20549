//! `kubectl scale` changes nothing that a visitor could notice.

use anyhow::Result;

use crate::cluster::{
    FULL, Test,
    kubectl::Component,
    load::{Tolerance, under_load},
    slow_uploads::SlowUploads,
};

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let (kubectl, deployment) = (&test.kubectl, format!("deployment/{FULL}-app"));
    let (took, load) = under_load(&test.board, "scale", Tolerance::Nothing, async |load| {
        let mut took = Vec::new();
        let slow = SlowUploads::begin(&test.board, "scale").await?;
        for replicas in [6, 2] {
            let start = std::time::Instant::now();
            kubectl.run(&["scale", &deployment, &format!("--replicas={replicas}")]).await?;
            kubectl.run(&["rollout", "status", &deployment, "--timeout=3m"]).await?;
            kubectl.settled(Component::App, replicas).await?;
            took.push(format!("{replicas} after {} s", start.elapsed().as_secs()));
            load.more(50).await?;
        }
        took.push(format!("{} slow uploads on the way", slow.finish().await?));
        Ok(took.join(", "))
    })
    .await?;
    let pods = kubectl.settled(Component::App, 2).await?;
    let verified = test.board.verify(&load.threads, &pods).await?;
    Ok(format!("{took}; {load}; {verified}"))
}
