//! Programs that are run to their end: what they print, and a clear word when they fail.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::account;

/// What a program that fails says at its end is why.
const FAILURE_LINES: usize = 20;

/// A program that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    name: &'static str,
    path: PathBuf,
}

impl Program {
    /// Finds it on the `PATH`.
    pub(crate) fn find(name: &'static str) -> Result<Self> {
        let path = account::program(name).with_context(|| format!("{name} is not on the PATH"))?;
        Ok(Self { name, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs it to its end and returns what it printed as its result. It gets our environment; it is killed when nobody
    /// waits for it any more, and Ctrl-C in the terminal does not reach it.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str, limit: Duration) -> Result<String> {
        Ok(self.output(arguments, input, limit).await?.0)
    }

    /// As [`Program::run`]; answers its result, and what it said besides.
    pub(crate) async fn output(&self, arguments: &[&str], input: &str, limit: Duration) -> Result<(String, String)> {
        let title = || format!("{} {}", self.name, arguments.join(" "));
        let mut child = Command::new(&self.path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", title()))?;
        let mut stdin = child.stdin.take().context("a child without a standard input")?;
        let working = async {
            // It need not read all of it; how it ends tells.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(limit, working).await;
        let output = output.with_context(|| format!("{} still runs after {limit:?}", title()))?;
        let output = output.with_context(|| format!("cannot wait for {}", title()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let end = |bytes: &[u8]| last_lines(&text(bytes), FAILURE_LINES);
        ensure!(
            output.status.success(),
            "{} failed ({}):\n{}\n{}",
            title(),
            output.status,
            end(&output.stdout),
            end(&output.stderr)
        );
        Ok((text(&output.stdout), text(&output.stderr)))
    }
}

/// The end of a text.
pub(crate) fn last_lines(text: &str, number: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(number)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_end() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_quoted_and_one_that_hangs_is_ended() {
        let shell = Program::find("sh").unwrap();
        let limit = Duration::from_mins(1);
        let said = shell.output(&["-c", "cat; echo besides >&2"], "read", limit).await.unwrap();
        assert_eq!(said, ("read".to_owned(), "besides".to_owned()));
        let error = shell.run(&["-c", "echo why >&2; exit 3"], "", limit).await.unwrap_err();
        assert!(error.to_string().contains("why") && error.to_string().contains("exit status: 3"), "{error}");
        let error = shell.run(&["-c", "sleep 60"], "", Duration::from_millis(10)).await.unwrap_err();
        assert!(error.to_string().contains("still runs"), "{error}");
    }
}
