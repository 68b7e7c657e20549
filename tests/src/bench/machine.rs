//! Processors, processor time and memory of processes, as Linux tells them.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use super::float;

/// Keeps a process, all its threads, and what they start from now on, on one processor.
pub fn pin(pid: u32, cpu: u8) -> Result<()> {
    let output = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &cpu.to_string(), &pid.to_string()])
        .output()
        .context("taskset (Debian package util-linux) is missing")?;
    ensure!(output.status.success(), "cannot pin process {pid}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The processor time that a process and its children have taken so far, in seconds.
pub fn processor_seconds(pid: i32) -> Result<f64> {
    let mut ticks = own_ticks(pid)?;
    for child in children(pid)? {
        // One that has ended a moment ago takes its time with it; servers here keep theirs.
        ticks += own_ticks(child).unwrap_or_default();
    }
    Ok(float(ticks) / float(ticks_per_second()?))
}

fn own_ticks(pid: i32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has another form")?;
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().context("/proc/PID/stat has another form")).sum()
}

fn children(pid: i32) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))? {
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
    }
    Ok(found)
}

fn ticks_per_second() -> Result<u64> {
    let output = Command::new("getconf").arg("CLK_TCK").output().context("cannot run getconf")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("getconf CLK_TCK is not a number")
}

/// What a process has in memory, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub now: f64,
    /// At the most so far (`VmHWM`).
    pub peak: f64,
}

/// The memory of one process.
pub fn memory(pid: i32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let mebibytes = |name: &str| -> Result<f64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).context("/proc/PID/status has another form")?;
        let kibibytes = line.split_whitespace().nth(1).context("/proc/PID/status has another form")?;
        Ok(float(kibibytes.parse()?) / 1024.0)
    };
    Ok(Memory { now: mebibytes("VmRSS")?, peak: mebibytes("VmHWM")? })
}

/// What this was measured on: processor, system, and how busy it was before.
#[must_use]
pub fn description() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{count} × {model}, Linux {}, load average before: {}", kernel.trim(), load.join(" "))
}
