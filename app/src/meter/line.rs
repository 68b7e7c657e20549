//! A line of nginx: `media 200 512 48213 HIT b -`. See `log_format traffic` in nginx's configuration.

use crate::domain::traffic::{Amount, TrafficKind};

/// What one request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) kind: TrafficKind,
    pub(super) board: Option<&'a str>,
    pub(super) amount: Amount,
}

/// Reads a line without its end; `None` if it is none of ours.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    // What comes last are the replicas that were asked, with spaces if there was more than one.
    let mut words = std::str::from_utf8(line).ok()?.splitn(7, ' ');
    let asked_for = match words.next()? {
        "media" => TrafficKind::Picture,
        "thumb" => TrafficKind::Thumbnail,
        "static" => TrafficKind::Asset,
        "-" => TrafficKind::Page,
        _ => return None,
    };
    let status: u16 = words.next()?.parse().ok()?;
    let kind = if (400..600).contains(&status) { TrafficKind::Refused } else { asked_for };
    let (bytes_in, bytes_out) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let cache = words.next()?;
    let board = words.next().filter(|slug| *slug != "-");
    let fetched = match (cache, words.next()?) {
        // A picture that a replica only had to say is still good came from the cache, too.
        ("HIT" | "REVALIDATED" | "STALE" | "UPDATING", _) | ("-", "-") => 0,
        _ => 1,
    };
    Some(Line { kind, board, amount: Amount { requests: 1, bytes_in, bytes_out, fetched } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: TrafficKind, board: Option<&str>, fetched: u64) -> Line<'_> {
        Line { kind, board, amount: Amount { requests: 1, bytes_in: 512, bytes_out: 48_213, fetched } }
    }

    #[test]
    fn a_line_says_what_was_asked_for_and_whether_a_replica_had_to_be_asked() {
        for (text, expected) in [
            ("media 200 512 48213 HIT b -", line(TrafficKind::Picture, Some("b"), 0)),
            ("media 200 512 48213 MISS b 10.0.0.1:80", line(TrafficKind::Picture, Some("b"), 1)),
            ("media 206 512 48213 MISS b 10.0.0.1:80, 10.0.0.1:80", line(TrafficKind::Picture, Some("b"), 1)),
            ("thumb 304 512 48213 REVALIDATED art 10.0.0.1:80", line(TrafficKind::Thumbnail, Some("art"), 0)),
            ("thumb 404 512 48213 MISS - 10.0.0.1:80", line(TrafficKind::Refused, None, 1)),
            ("static 200 512 48213 - - -", line(TrafficKind::Asset, None, 0)),
            ("static 200 512 48213 - - 10.0.0.1:80", line(TrafficKind::Asset, None, 1)),
            ("- 503 512 48213 - - 10.0.0.1:80 : 10.0.0.1:80", line(TrafficKind::Refused, None, 1)),
            ("- 302 512 48213 - - -", line(TrafficKind::Page, None, 0)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_line() {
        for wrong in [
            &b""[..],
            b"media",
            b"film 200 512 48213 HIT b -",
            b"media 200 512 48213 HIT b",
            b"media ok 512 48213 HIT b -",
            b"media 200 -512 48213 HIT b -",
            b"media 200 512 48media 200 512 48213 HIT b -",
            b"media 200 512 48213 HIT \xff -",
        ] {
            assert_eq!(parse(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
