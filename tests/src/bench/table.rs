//! The tables, for people.

use std::fmt::Write as _;

use super::{
    LOAD_CPU, SERVER_CPU, Spread,
    content::{REPLIES, THREADS},
    float, freshness, growth,
    growth::{AT_ONCE, BOARDS, Growth},
    load::CONNECTIONS,
    machine::Memory,
    metering,
    reads::Row,
    start::{READS, STARTS},
    streams::{IDLE, POSTS, Streams, TOLD},
    uploads::{TOTAL, Uploads},
};

/// Memory of one replica, in the order in which it was looked at.
#[derive(Debug)]
pub struct Sizes {
    /// After its start.
    pub idle: Memory,
    /// After reads.
    pub read: Memory,
    /// After uploads.
    pub uploaded: Memory,
}

/// What is said above all tables.
#[must_use]
pub fn heading(machine: &str) -> String {
    format!(
        "\n{machine}\nCPU {SERVER_CPU}: the replica and Postgres, or nginx. CPU {LOAD_CPU}: wrk, clients, the S3 \
         server.\nEach number is the median of its rounds, (least to most) where that is shown.\n"
    )
}

/// What one replica does, as text.
#[must_use]
pub fn of_replica(reads: &[Row], uploads: &Uploads, start: Spread, sizes: &Sizes) -> String {
    let mut text = String::new();
    read_table(&mut text, reads);
    upload_table(&mut text, uploads);
    size_table(&mut text, start, sizes);
    text
}

/// What it costs to count, as text.
#[must_use]
pub fn of_metering(rows: &[metering::Row]) -> String {
    let mut text = "\nMETERING: answers a second of nginx from its cache, counted by a meter on the same processor, and not counted.\n\n"
        .to_owned();
    let _ = writeln!(text, "{:<24}{:>9}{:>12}{:>12}   {:<22}{:>9}", "what", "bytes", "counted", "not", "ratio", "aim");
    for metering::Row { what, bytes, counted, uncounted, ratio } in rows {
        let ratio = format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most);
        let (counted, uncounted) = (counted.median, uncounted.median);
        let _ = writeln!(text, "{what:<24}{bytes:>9}{counted:>12.0}{uncounted:>12.0}   {ratio:<22}{:>9}", "0.97");
    }
    text
}

/// What it costs to be fresh, as text.
#[must_use]
pub fn of_freshness(rows: &[freshness::Row]) -> String {
    let mut text = "\nFRESHNESS: how many statements a second one replica sends to Postgres, while one client reads pages \
                    that have not changed, as\nfast as it can. A replica asks what has changed at most every 20 ms, and \
                    every second how long its neighbours wait.\n\n"
        .to_owned();
    let _ = writeln!(text, "{:<44}{:>9}   {:<22}{:>9}", "what", "reads/s", "statements/s", "aim");
    for row in rows {
        let (what, aim) = match row.pages {
            0 => ("nobody reads".to_owned(), "0"),
            1 => ("one page".to_owned(), "below 51"),
            pages => (format!("{pages} different pages"), "below 51"),
        };
        let statements = row.statements;
        let statements = format!("{:.1} ({:.1} to {:.1})", statements.median, statements.least, statements.most);
        let _ = writeln!(text, "{what:<44}{:>9.0}   {statements:<22}{aim:>9}", row.reads.median);
    }
    text
}

/// What event streams do and cost, as text.
#[must_use]
pub fn of_streams(streams: &Streams) -> String {
    let mut text = format!("\nSTREAMS: {POSTS} posts, one after the other; milliseconds.\n\n");
    let _ = writeln!(text, "{:<64}{:>9}{:>9}{:>14}", "what", "median", "p99", "aim");
    for (what, times, aim) in [
        ("from sending a post to its event on another replica", streams.from_sending, "none"),
        ("from its answer to this event", streams.from_answer, "p99 below 60"),
        ("from sending a post to its answer", streams.answer, "none"),
        ("the same with TRIPTYCH_FEED_INTERVAL=0ms", streams.answer_at_once, "none"),
    ] {
        let _ = writeln!(text, "{what:<64}{:>9.1}{:>9.1}{aim:>14}", times.median, times.p99);
    }
    let _ =
        writeln!(text, "{:<64}{:>9.1}{:>9}{:>14}", "what the interval adds", streams.commit_wait.median, "", "none");

    let Streams { open, before, with_all, idle_one, idle_all, all_from_sending, all_from_answer, processor, .. } =
        *streams;
    let _ = write!(
        text,
        "\n{open} event streams of one replica, left alone for {} s, in which each has a heartbeat; then {TOLD} posts.\n\n",
        IDLE.as_secs()
    );
    let mebibytes = with_all - before;
    let _ = writeln!(text, "{:<64}{:>9}{:>9}{:>14}", "what", "", "", "aim");
    for (what, number, aim) in [
        (format!("MiB in memory more than with one stream, which has {before:.1}"), mebibytes, "below 95"),
        ("KiB for one stream".to_owned(), mebibytes * 1024.0 / (float(open) - 1.0), "none"),
        ("% of a processor: the replica".to_owned(), idle_all.replica, "below 5"),
        ("% of a processor: Postgres".to_owned(), idle_all.postgres, "none"),
        ("% of a processor, with one stream: the replica".to_owned(), idle_one.replica, "none"),
        ("% of a processor, with one stream: Postgres".to_owned(), idle_one.postgres, "none"),
    ] {
        let _ = writeln!(text, "{what:<64}{number:>9.1}{:>9}{aim:>14}", "");
    }
    let _ = writeln!(text, "\n{:<64}{:>9}{:>9}{:>14}", "", "median", "most", "aim");
    for (what, spread, aim) in [
        ("ms from sending a post until all streams have its event", all_from_sending, "none"),
        ("ms from its answer until all have it", all_from_answer, "below 200"),
        ("replica's CPU milliseconds for it", processor, "none"),
    ] {
        let _ = writeln!(text, "{what:<64}{:>9.1}{:>9.1}{aim:>14}", spread.median, spread.most);
    }
    text
}

/// What a large board costs, as text.
#[must_use]
pub fn of_growth(growth: &Growth) -> String {
    let mut text = format!(
        "\nGROWTH: the same pages of a board with {} posts and of one with {}; no page is kept from before. Milliseconds \
         for one.\nFactor: how much more it costs on the large board, lower is better.\n\n",
        growth.small, growth.large
    );
    let _ = writeln!(text, "{:<44}{:>9}{:>9}   {:<22}{:>7}", "what", "small", "large", "factor", "aim");
    for row in &growth.times {
        growth_line(&mut text, row, 2);
    }
    let _ = write!(
        text,
        "\nPOSTS: replies a second through one replica, {AT_ONCE} at a time; to as many threads, on one board or on \
         {BOARDS}.\n\n"
    );
    let _ = writeln!(text, "{:<44}{:>9}{:>9}   {:<22}{:>7}", "what", "small", "large", "factor", "aim");
    for row in &growth.rates {
        growth_line(&mut text, row, 0);
    }
    if growth.refused > 0 {
        let _ = writeln!(text, "\nTHE MACHINE WAS NOT QUIET: {} replies were refused with 503.", growth.refused);
    }
    text
}

fn growth_line(text: &mut String, row: &growth::Row, digits: usize) {
    let factor = format!("{:.2} ({:.2} to {:.2})", row.factor.median, row.factor.least, row.factor.most);
    let _ = writeln!(
        text,
        "{:<44}{:>9.digits$}{:>9.digits$}   {factor:<22}{:>7}",
        row.what, row.small.median, row.large.median, "1.50"
    );
}

fn read_table(text: &mut String, rows: &[Row]) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\nREADS: pages through one replica, against nginx serving the same bytes from a file; {CONNECTIONS} connections.\n\
         The thread has {REPLIES} replies, the catalogue {THREADS} threads. Ratio: ours by nginx, higher is better. p99: \
         99 of 100\nanswers took less. CPU: processor time for one answer, of the replica and Postgres together, and of nginx. Busy: how \
         much\nof the processor they took.\n\n"
    );
    let _ = writeln!(
        text,
        "{:<27}{:>8}{:>11}{:>9}   {:<22}{:>5}{:>10}{:>7}{:>9}{:>7}{:>9}{:>7}",
        "what",
        "bytes",
        "replica/s",
        "nginx/s",
        "ratio",
        "aim",
        "p99 ms",
        "nginx",
        "CPU µs",
        "nginx",
        "busy %",
        "nginx"
    );
    for row in rows {
        let ratio = format!("{:.2} ({:.2} to {:.2})", row.ratio.median, row.ratio.least, row.ratio.most);
        let _ = writeln!(
            text,
            "{:<27}{:>8}{:>11.0}{:>9.0}   {ratio:<22}{:>5}{:>10.2}{:>7.2}{:>9.1}{:>7.1}{:>9.0}{:>7.0}",
            row.what,
            row.bytes,
            row.ours.median,
            row.theirs.median,
            "1.00",
            row.p99.median,
            row.p99_theirs.median,
            row.processor.median,
            row.processor_theirs.median,
            row.busy.median,
            row.busy_theirs.median,
        );
    }
    let moved = rows.iter().map(|row| (row.theirs.most - row.theirs.least) / row.theirs.median).fold(0.0, f64::max);
    let _ = writeln!(text, "\nnginx itself moved by up to {:.0} % between rounds of one row.", moved * 100.0);
    let flattering = rows.iter().filter(|row| flatters(row)).count();
    if moved > 0.15 || flattering > 0 {
        let _ = writeln!(
            text,
            "THE MACHINE WAS NOT QUIET: in {flattering} of {} rows nginx was less than 85 % busy, so wrk was what limited it \
             and the ratio is\ntoo good. There, and with others at work, the CPU columns say more.",
            rows.len()
        );
    }
}

/// When nginx waits for wrk, which shares its processor with whatever else the machine does, the ratio is too good.
fn flatters(row: &Row) -> bool {
    row.busy_theirs.median < 85.0
}

fn upload_table(text: &mut String, uploads: &Uploads) {
    let _ = write!(
        text,
        "\nUPLOADS: {TOTAL} photographs of {} bytes (8 megapixels, all different) through one replica, against raw PUTs of \
         the like to\nthe same S3 server. The replica checks, decodes, makes the thumbnail, stores both, and commits the post.\n\n",
        uploads.bytes
    );
    let _ = writeln!(text, "{:<44}{:>9}{:>9}   {:<22}{:>7}", "what", "replica", "raw PUT", "ratio", "aim");
    let mut line = |what: &str, ours: Spread, raw: Option<Spread>, ratio: Option<Spread>, aim: &str| {
        let number = |spread: Spread| format!("{:.1}", spread.median);
        let ratio = ratio.map(|ratio| format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most));
        let _ = writeln!(
            text,
            "{what:<44}{:>9}{:>9}   {:<22}{aim:>7}",
            number(ours),
            raw.map(number).unwrap_or_default(),
            ratio.unwrap_or_default()
        );
    };
    let Uploads { rate, rate_raw, rate_ratio, alone, alone_raw, alone_ratio, processor, .. } = *uploads;
    line("uploads a second, 4 at a time (higher)", rate, Some(rate_raw), Some(rate_ratio), "0.90");
    line("milliseconds for one alone (lower)", alone, Some(alone_raw), Some(alone_ratio), "none");
    line("replica's CPU milliseconds for one (lower)", processor, None, None, "none");
}

fn size_table(text: &mut String, start: Spread, sizes: &Sizes) {
    let _ = write!(text, "\nSIZE: one replica; memory is resident, in MiB.\n\n");
    let _ = writeln!(text, "{:<44}{:>9}{:>9}{:>12}", "what", "median", "most", "aim");
    let _ = writeln!(
        text,
        "{:<44}{:>9.0}{:>9.0}{:>12}",
        format!("ms from exec to ready, {STARTS} cold starts"),
        start.median,
        start.most,
        "below 300"
    );
    let _ = writeln!(text, "\n{:<44}{:>9}{:>9}{:>12}", "", "now", "peak", "aim (now)");
    for (what, memory, aim) in [
        ("idle after its start".to_owned(), sizes.idle, "below 40"),
        (format!("after {READS} page reads"), sizes.read, "none"),
        (format!("after {TOTAL} uploads"), sizes.uploaded, "none"),
    ] {
        let _ = writeln!(text, "{what:<44}{:>9.1}{:>9.1}{aim:>12}", memory.now, memory.peak);
    }
}
