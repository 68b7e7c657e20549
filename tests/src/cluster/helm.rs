//! Helm, as an operator uses it. Knows the chart's values only as a document.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::command::Program;
use crate::scratch::Scratch;

/// What Helm itself may wait.
const TIMEOUT: &str = "4m";
/// A little more, so that it is Helm which says what it waited for.
const LIMIT: Duration = Duration::from_mins(5);

/// Helm for one release in one namespace of the current context.
#[derive(Debug)]
pub(crate) struct Helm {
    program: Program,
    namespace: String,
    release: String,
    scratch: Scratch,
}

impl Helm {
    pub(crate) fn new(namespace: &str, release: &str) -> Result<Self> {
        Ok(Self {
            program: Program::find("helm")?,
            namespace: namespace.to_owned(),
            release: release.to_owned(),
            scratch: Scratch::new("values")?,
        })
    }

    /// The chart as it is now, whatever becomes of its directory while the test runs.
    pub(crate) async fn package(&self, chart: &str) -> Result<String> {
        if !Path::new(chart).is_dir() {
            return Ok(chart.to_owned());
        }
        let place = self.scratch.path().to_str().context("the name of a temporary directory is not text")?;
        let said = self.program.run(&["package", chart, "--destination", place], "", LIMIT).await?;
        // It ends with the name of the file that it has written.
        let package = said.split_whitespace().next_back().filter(|last| Path::new(last).is_file());
        Ok(package.with_context(|| format!("helm package says {said:?}"))?.to_owned())
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let place = ["--namespace", &self.namespace];
        self.program.run(&[arguments, &place].concat(), "", LIMIT).await
    }

    /// `install` or `upgrade`, with values and without waiting.
    async fn set(&self, verb: &str, chart: &str, values: &Value, further: &[&str]) -> Result<String> {
        let file = self.scratch.join("values.json");
        fs::write(&file, values.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        let file = file.to_str().context("the name of a temporary file is not text")?;
        self.run(&[&[verb, &self.release, chart, "--values", file, "--timeout", TIMEOUT], further].concat()).await
    }

    /// Installs the release and waits until it is ready.
    pub(crate) async fn install(&self, chart: &str, values: &Value) -> Result<String> {
        self.set("install", chart, values, &["--wait"]).await
    }

    /// Installs the release from a chart of another time, which may not know every value, and waits until it is ready.
    pub(crate) async fn install_from_another(&self, chart: &str, values: &Value) -> Result<String> {
        self.set("install", chart, values, &["--wait", "--skip-schema-validation"]).await
    }

    /// Installs a release that will not become ready.
    pub(crate) async fn install_without_waiting(&self, chart: &str, values: &Value) -> Result<String> {
        self.set("install", chart, values, &[]).await
    }

    /// Upgrades the release and waits until it is ready.
    pub(crate) async fn upgrade(&self, chart: &str, values: &Value) -> Result<String> {
        self.set("upgrade", chart, values, &["--wait"]).await
    }

    /// Upgrades a release that will not become ready.
    pub(crate) async fn upgrade_without_waiting(&self, chart: &str, values: &Value) -> Result<String> {
        self.set("upgrade", chart, values, &[]).await
    }

    /// Goes back to a revision of the release and waits until it is ready.
    pub(crate) async fn rollback(&self, revision: u32) -> Result<String> {
        self.run(&["rollback", &self.release, &revision.to_string(), "--wait", "--timeout", TIMEOUT]).await
    }

    /// Runs the release's tests and returns what their pods have said, as Helm passes it on.
    pub(crate) async fn test(&self) -> Result<String> {
        let arguments = ["test", &self.release, "--timeout", TIMEOUT, "--namespace", &self.namespace];
        let (result, besides) = self.program.output(&arguments, "", LIMIT).await?;
        // Helm 4 logs it, as one line; Helm 3 prints it.
        let said = if besides.is_empty() { result } else { besides };
        Ok(said.replace("\\n", "\n"))
    }

    /// What the release consists of, but for its hooks.
    pub(crate) async fn manifest(&self) -> Result<String> {
        self.run(&["get", "manifest", &self.release]).await
    }

    /// Uninstalls the release and waits until its objects are gone; nothing happens if there is none.
    pub(crate) async fn uninstall(&self) -> Result<()> {
        let arguments = ["uninstall", &self.release, "--ignore-not-found", "--wait", "--timeout", TIMEOUT];
        self.run(&arguments).await.map(drop)
    }
}
