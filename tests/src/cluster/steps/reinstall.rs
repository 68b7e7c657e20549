//! Uninstalling keeps volumes and credentials, and installing again finds everything, byte by byte.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::install::{answers, generated, is_complete};
use crate::cluster::{FULL, RELEASE, Test, kubectl::Component};

/// What may be left of a release, beside volume claims and credentials: nothing of these.
const KINDS: &str = "deployments,statefulsets,replicasets,pods,services,configmaps,serviceaccounts,ingresses,\
                     networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,jobs,cronjobs,roles,rolebindings";

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let (credentials, claims) = (generated(test).await?, volumes(test).await?);
    test.helm.uninstall().await?;
    let start = std::time::Instant::now();
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    loop {
        let left = test.kubectl.run(&["get", KINDS, "--selector", &selector, "--output", "name"]).await?;
        if left.is_empty() {
            break;
        }
        ensure!(start.elapsed() < crate::cluster::kubectl::LIMIT, "the release has left behind:\n{left}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    ensure!(volumes(test).await? == claims, "the volume claims are not those of before");
    let kept = test.kubectl.json(&["get", "secret", &format!("{FULL}-credentials")]).await?;
    ensure!(kept.get("data") == Some(&credentials), "the credentials were not kept");

    if let Some(replicas) = test.values.pointer_mut("/app/replicas") {
        *replicas = Value::from(3);
    }
    test.helm.install(&test.options.chart, &test.values).await?;
    is_complete(test).await?;
    ensure!(generated(test).await? == credentials, "the credentials have changed");
    ensure!(volumes(test).await? == claims, "the volumes are not those of before");
    answers(test).await?;
    let pods = test.kubectl.settled(Component::App, 3).await?;
    let verified = test.board.verify(&test.board.ledger.threads(), &pods).await?;
    Ok(format!("{} volumes and {FULL}-credentials kept; {verified}", claims.len()))
}

/// The volume claims, and the volume of each.
async fn volumes(test: &Test) -> Result<BTreeMap<String, String>> {
    let claims = test.kubectl.list(&["persistentvolumeclaims"]).await?;
    let field =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let volumes: BTreeMap<_, _> =
        claims.iter().map(|claim| (field(claim, "/metadata/name"), field(claim, "/spec/volumeName"))).collect();
    ensure!(volumes.len() == 2, "there are {} volume claims, not 2: {volumes:?}", volumes.len());
    Ok(volumes)
}
