//! Promises 1, 3 and 4: processes are killed where they run, with `kill -9`, those of Postgres and the S3 server included, and
//! pods are deleted without grace. Requests may fail; nothing that was acknowledged is lost, and no post is without its picture.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{
    FULL, Test,
    kubectl::{Component, Kubectl, LIMIT, Pod},
    load::{Summary, Tolerance, under_load},
    processes::{Processes, program},
};

/// How often a replica is killed, and how often a pod is deleted without grace.
const ROUNDS: usize = 3;
const REPLICAS: usize = 3;

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let kubectl = &test.kubectl;
    kubectl.run(&["scale", &format!("deployment/{FULL}-app"), &format!("--replicas={REPLICAS}")]).await?;
    kubectl.settled(Component::App, REPLICAS).await?;
    let web = kubectl.staying(Component::Web).await?.len();
    let processes = Processes::new(test).await?;
    let killing = kill(test, &processes, web).await;
    // On every path: they may do everything on their nodes.
    processes.leave().await?;
    let (meter, load) = killing?;
    let pods = kubectl.settled(Component::App, REPLICAS).await?;
    let verified = test.board.verify(&load.threads, &pods).await?;
    Ok(format!(
        "a meter killed: {meter}; {ROUNDS} pods deleted without grace, {ROUNDS} replicas, nginx, Postgres and MinIO killed: {load}; {verified}"
    ))
}

async fn kill(test: &Test, processes: &Processes, web: usize) -> Result<(Summary, Summary)> {
    let kubectl = &test.kubectl;
    // Beside nginx, and the same program as a replica: nobody notices.
    let ((), meter) = under_load(&test.board, "kill the meter", Tolerance::Nothing, async |load| {
        let pod = any_ready(kubectl, Component::Web).await?;
        processes.kill(&pod, program(Component::App)).await?;
        restarted(kubectl, Component::Web, &pod).await?;
        load.more(20).await?;
        Ok(())
    })
    .await?;
    let ((), load) = under_load(&test.board, "kill", Tolerance::Anything, async |load| {
        for _ in 0..ROUNDS {
            let pod = any_ready(kubectl, Component::App).await?;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
            kubectl.run(&["delete", "pod", &pod.name, "--grace-period=0", "--force", "--wait=false"]).await?;
            load.more(10).await?;
        }
        kubectl.settled(Component::App, REPLICAS).await?;
        let app = std::iter::repeat_n((Component::App, program(Component::App)), ROUNDS);
        let others = [Component::Web, Component::Postgres, Component::Minio].map(|other| (other, program(other)));
        for (component, name) in app.chain(others) {
            let pod = any_ready(kubectl, component).await?;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..500))).await;
            processes.kill(&pod, name).await?;
            restarted(kubectl, component, &pod).await?;
            load.more(10).await?;
        }
        for (component, number) in
            [(Component::App, REPLICAS), (Component::Web, web), (Component::Postgres, 1), (Component::Minio, 1)]
        {
            kubectl.settled(component, number).await?;
        }
        load.more(20).await?;
        Ok(())
    })
    .await?;
    Ok((meter, load))
}

/// One of the pods that are ready, as soon as there is one.
async fn any_ready(kubectl: &Kubectl, component: Component) -> Result<Pod> {
    let start = Instant::now();
    loop {
        let mut ready = kubectl.pods(component).await?;
        ready.retain(|pod| pod.ready && !pod.ending);
        if !ready.is_empty() {
            return Ok(ready.swap_remove(rand::random_range(0..ready.len())));
        }
        ensure!(start.elapsed() < LIMIT, "no pod of {} is ready after {LIMIT:?}", component.label());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until a container of the pod was started again: that it was killed, and has come back by itself.
async fn restarted(kubectl: &Kubectl, component: Component, killed: &Pod) -> Result<()> {
    let start = Instant::now();
    loop {
        let pods = kubectl.pods(component).await?;
        let pod = pods.into_iter().find(|pod| pod.uid == killed.uid);
        let pod = pod.with_context(|| format!("the pod {} is gone", killed.name))?;
        if pod.restarts > killed.restarts && pod.ready {
            return Ok(());
        }
        ensure!(start.elapsed() < LIMIT, "{} does not come back after {LIMIT:?}", killed.name);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
