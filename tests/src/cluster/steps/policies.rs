//! What the network policies forbid is refused: a pod that has no business with the board reaches none of its ports.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{
    Test,
    kubectl::{Component, Kubectl},
    processes::Processes,
};

/// A network needs some seconds for a new policy.
const LIMIT: Duration = Duration::from_secs(30);
/// Where somebody listens, by component.
const PORTS: [(Component, &[u16]); 4] = [
    (Component::App, &[8080, 9090]),
    (Component::Web, &[8080, 9113]),
    (Component::Postgres, &[5432]),
    (Component::Minio, &[9000]),
];

pub(super) async fn run(test: &mut Test) -> Result<Option<String>> {
    // Pods of another namespace, with the network of pods: strangers.
    let strangers = Processes::new(test).await?;
    let probing = probe(test, &strangers).await;
    strangers.leave().await?;
    probing
}

async fn probe(test: &Test, strangers: &Processes) -> Result<Option<String>> {
    let dns = test.kubectl.within("kube-system").json(&["get", "service", "kube-dns"]).await?;
    let dns = dns.pointer("/spec/clusterIP").and_then(Value::as_str).context("DNS has no address")?.to_owned();
    // Open to everybody, until a policy of the stranger's own forbids it: then the network enforces policies.
    ensure!(
        strangers.reaches(&dns, 53).await?,
        "a pod does not reach DNS, so nothing can be told from what it does not reach"
    );
    forbid_everything(strangers.kubectl()).await?;
    let start = Instant::now();
    while strangers.reaches(&dns, 53).await? {
        if start.elapsed() > LIMIT {
            return Ok(None);
        }
    }
    strangers.kubectl().run(&["delete", "networkpolicy", "nothing"]).await?;
    while !strangers.reaches(&dns, 53).await? {
        ensure!(start.elapsed() < LIMIT * 2, "a pod does not reach DNS any more");
    }

    let mut refused = 0;
    for (component, ports) in PORTS {
        let selector = format!("app.kubernetes.io/name=triptych,app.kubernetes.io/component={}", component.label());
        for pod in
            test.kubectl.list(&["pods", "--selector", &selector, "--field-selector", "status.phase=Running"]).await?
        {
            let field =
                |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).context("a pod without an address");
            let (name, address) = (field("/metadata/name")?, field("/status/podIP")?);
            for port in ports {
                ensure!(!strangers.reaches(address, *port).await?, "a stranger reaches port {port} of {name}");
                refused += 1;
            }
        }
    }
    Ok(Some(format!("{refused} ports of all pods, refused to a stranger")))
}

async fn forbid_everything(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .apply(&json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "nothing"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
        }))
        .await
}
