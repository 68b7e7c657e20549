//! The chart on an empty namespace, in which only restricted pods may run.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hyper::StatusCode;
use serde_json::Value;

use crate::cluster::{FULL, RELEASE, Test, client::Ask, kubectl::Component};

/// A controller needs a moment for a new Ingress.
const INGRESS_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(test: &mut Test) -> Result<String> {
    test.make_namespace(&test.options.namespace, "restricted").await?;
    let start = Instant::now();
    match test.options.previous_chart() {
        Some(chart) => {
            let mut values = test.values.clone();
            if let Some(tag) = test.options.previous_tag() {
                for image in ["/app/image/tag", "/web/image/tag"] {
                    *values.pointer_mut(image).context("the values have no tag")? = tag.into();
                }
            }
            test.helm.install_from_another(chart, &values).await?
        }
        None => test.helm.install(&test.options.chart, &test.values).await?,
    };
    let took = start.elapsed();
    let pods = is_complete(test).await?;
    generated(test).await?;
    answers(test).await?;

    let namespace = test.kubectl.json(&["get", "namespace", &test.options.namespace]).await?;
    let enforced = namespace.pointer("/metadata/labels/pod-security.kubernetes.io~1enforce").and_then(Value::as_str);
    ensure!(enforced == Some("restricted"), "the namespace enforces {enforced:?}");
    // Pods of Jobs and of Deployments alike: what is refused is told in an event.
    let refused = test.kubectl.list(&["events", "--field-selector", "reason=FailedCreate"]).await?;
    let refused: Vec<&str> = refused.iter().filter_map(|event| event.get("message")?.as_str()).collect();
    ensure!(refused.is_empty(), "pods were refused: {refused:#?}");
    Ok(format!("ready after {} s, {pods} pods, all restricted, volumes bound", took.as_secs()))
}

/// Checks that every part is there and ready, and has its volume; answers the number of pods.
pub(super) async fn is_complete(test: &Test) -> Result<usize> {
    let mut pods = 0;
    for (component, number) in Component::ALL.into_iter().zip([3, 2, 1, 1]) {
        pods += test.kubectl.settled(component, number).await?.len();
    }
    let selector = format!("app.kubernetes.io/instance={RELEASE}");
    let claims = test.kubectl.list(&["persistentvolumeclaims", "--selector", &selector]).await?;
    ensure!(claims.len() == 2, "there are {} volume claims with the release's label, not 2", claims.len());
    for claim in &claims {
        let phase = claim.pointer("/status/phase").and_then(Value::as_str);
        ensure!(
            phase == Some("Bound"),
            "the volume claim is {phase:?}: {}",
            claim.pointer("/metadata/name").unwrap_or(&Value::Null)
        );
    }
    Ok(pods)
}

/// Checks that there are credentials, those that every chart makes, and that Helm does not know them; answers their data.
pub(super) async fn generated(test: &Test) -> Result<Value> {
    let name = format!("{FULL}-credentials");
    let secret = test.kubectl.json(&["get", "secret", &name]).await?;
    let data = secret.get("data").cloned().unwrap_or_default();
    for key in ["secret", "postgresql-password", "minio-password"] {
        let value = data.get(key).and_then(Value::as_str).unwrap_or_default();
        ensure!(value.len() >= 40, "{key} in {name} has {} characters in base64", value.len());
    }
    let release = secret.pointer("/metadata/annotations/meta.helm.sh~1release-name");
    ensure!(release.is_none(), "{name} belongs to the release {}", release.unwrap_or(&Value::Null));
    let manifest = test.helm.manifest().await?;
    let rendered = manifest.split("\n---").any(|object| {
        let has = |wanted: &str| object.lines().any(|line| line.trim_end() == wanted);
        has("kind: Secret") && has(&format!("  name: {name}"))
    });
    ensure!(!rendered, "{name} is among the objects of the release");
    Ok(data)
}

/// Waits until the Ingress has the board, and checks that it is the right one.
pub(super) async fn answers(test: &Test) -> Result<()> {
    let (mut visitor, start) = (test.board.visitor(), Instant::now());
    loop {
        let answer = visitor.must(&Ask::page("/"), StatusCode::OK).await;
        match answer {
            Ok(answer) => {
                let title = test.values.get("title").and_then(Value::as_str).context("no title in the values")?;
                let shown = answer.texts("title")?.concat();
                ensure!(shown.contains(title), "the home page is called {shown:?}, not {title:?}");
                return Ok(());
            }
            Err(failure) if start.elapsed() > INGRESS_LIMIT => {
                return Err(failure).context("the board does not answer through the Ingress");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
