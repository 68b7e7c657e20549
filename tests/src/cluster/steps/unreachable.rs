//! A board that reaches neither Postgres nor the S3 server says which, waits, and disturbs no other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{
    Test,
    helm::Helm,
    kubectl::{Component, Kubectl, Pod},
};

/// Starting a pod, a Postgres and looking once.
const LIMIT: Duration = Duration::from_mins(2);
const INIT_CONTAINER: &str = "migrate";

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let before = test.kubectl.pods(Component::App).await?;
    let namespace = test.unreachable_namespace();
    test.make_namespace(&namespace, "restricted").await?;
    let kubectl = test.kubectl.within(&namespace);
    let (helm, values) = (Helm::new(&namespace, "lost")?, values(test, &kubectl).await?);
    let result = told(&kubectl, &helm, test, &values).await;
    helm.uninstall().await?;
    kubectl.run(&["delete", "namespace", &namespace, "--wait"]).await?;
    let result = result?;
    let after = test.kubectl.pods(Component::App).await?;
    let marks = |pods: &[Pod]| pods.iter().map(|pod| (pod.uid.clone(), pod.ready, pod.restarts)).collect::<Vec<_>>();
    ensure!(marks(&before) == marks(&after), "the board beside it was disturbed: {before:?} {after:?}");
    Ok(result)
}

/// A release that shall find nothing, and the Secrets that it needs.
async fn values(test: &Test, kubectl: &Kubectl) -> Result<Value> {
    let nowhere = "postgres://somebody:password@postgres.invalid:5432/triptych";
    let keys = json!({"uri": nowhere, "access-key-id": "somebody", "secret-access-key": "password"});
    kubectl
        .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nowhere"}, "stringData": keys}))
        .await?;
    let mut values = test.values.clone();
    let nothing = json!({
        "app": {"replicas": 1},
        "web": {"replicas": 1, "preStopSleepSeconds": 1},
        "postgresql": {"enabled": false},
        "externalDatabase": {"existingSecret": "nowhere"},
        "minio": {"enabled": false},
        "s3": {"endpoint": "http://s3.invalid:9000", "existingSecret": "nowhere"},
        "ingress": {"enabled": false},
    });
    merge(&mut values, &nothing);
    Ok(values)
}

/// Puts the fields of one document over those of another.
fn merge(values: &mut Value, over: &Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (name, over) in over {
                merge(values.entry(name.clone()).or_insert(Value::Null), over);
            }
        }
        (values, over) => values.clone_from(over),
    }
}

async fn told(kubectl: &Kubectl, helm: &Helm, test: &Test, values: &Value) -> Result<String> {
    helm.install_without_waiting(&test.options.chart, values).await?;
    let without_postgres = says(kubectl, "Postgres").await?;
    let mut values = values.clone();
    merge(&mut values, &json!({"postgresql": {"enabled": true}, "externalDatabase": {"existingSecret": ""}}));
    helm.upgrade_without_waiting(&test.options.chart, &values).await?;
    let without_s3 = says(kubectl, "S3").await?;
    Ok(format!("\n  {without_postgres}\n  {without_s3}"))
}

/// Waits until the init container of the newest app pod names what it misses, and checks that it goes on waiting.
async fn says(kubectl: &Kubectl, wanted: &str) -> Result<String> {
    let start = Instant::now();
    loop {
        let selector = "app.kubernetes.io/name=triptych,app.kubernetes.io/component=app";
        let arguments = ["logs", "--selector", selector, "--container", INIT_CONTAINER, "--tail=20"];
        // Until there is a container there is no log.
        let log = kubectl.run(&arguments).await.unwrap_or_default();
        if let Some(line) = log.lines().find(|line| line.contains(wanted)) {
            let pods = kubectl.pods(Component::App).await?;
            ensure!(pods.iter().all(|pod| pod.restarts == 0), "it is started again and again: {pods:?}");
            return Ok(line.chars().take(240).collect());
        }
        let late = || format!("the init container has not named {wanted} within {LIMIT:?}; it says:\n{log}");
        Some(()).filter(|()| start.elapsed() < LIMIT).with_context(late)?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
