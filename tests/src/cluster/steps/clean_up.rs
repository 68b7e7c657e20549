//! Everything that the test has made goes away again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cluster::{RELEASE, Test, kubectl::LIMIT};

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let namespaces = test.namespaces();
    test.helm.uninstall().await?;
    let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let arguments = [&["delete", "namespace", "--ignore-not-found", "--wait", "--timeout=4m"], &names[..]].concat();
    test.kubectl.run(&arguments).await?;

    let start = Instant::now();
    loop {
        // Volumes are removed by whoever made them, in its own time.
        let volumes = test.kubectl.list(&["persistentvolumes"]).await?;
        let claimed = volumes.iter().filter_map(|volume| volume.pointer("/spec/claimRef/namespace")?.as_str());
        let left = claimed.filter(|namespace| names.contains(namespace)).count();
        if left == 0 {
            break;
        }
        ensure!(start.elapsed() < LIMIT, "{left} volumes are left after {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let selector = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/part-of=triptych");
    let kinds = "clusterroles,clusterrolebindings,priorityclasses,storageclasses,ingressclasses";
    let left = test.kubectl.list(&[kinds, "--selector", &selector]).await?;
    // Those of a board that somebody else runs have its namespace in their annotations.
    let own = |object: &&Value| {
        let namespace = object.pointer("/metadata/annotations/meta.helm.sh~1release-namespace");
        namespace.and_then(Value::as_str).is_none_or(|namespace| names.contains(&namespace))
    };
    let left: Vec<_> = left.iter().filter(own).filter_map(|object| object.pointer("/metadata/name")).collect();
    ensure!(left.is_empty(), "these are left in the cluster: {left:?}");
    Ok(format!("the release, {} and their volumes are gone", names.join(", ")))
}
