//! The chart's own test, as an operator runs it.

use anyhow::{Result, ensure};

use crate::cluster::Test;

pub(super) async fn run(test: &mut Test) -> Result<String> {
    let said = test.helm.test().await?;
    // The last thing that the pod does is to take its post back.
    ensure!(said.contains("deleted"), "the test passed without its pod having said so:\n{said}");
    Ok(format!("passed, and said:\n  {}", said.lines().collect::<Vec<_>>().join("\n  ")))
}
