//! A line of nginx: `picture b 512 48213 0` behind what syslog puts before it. See `log_format traffic` in nginx's configuration.

use crate::domain::traffic::{Amount, TrafficKind};

/// What nginx writes between the date and its message (`tag=`).
const TAG: &str = " triptych: ";

/// What one request was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) kind: TrafficKind,
    pub(super) board: Option<&'a str>,
    pub(super) amount: Amount,
}

/// Reads a line; `None` if it is none of ours.
pub(super) fn parse(datagram: &[u8]) -> Option<Line<'_>> {
    let (_, text) = std::str::from_utf8(datagram).ok()?.split_once(TAG)?;
    let mut words = text.trim_end().split(' ');
    let kind = TrafficKind::from_name(words.next()?)?;
    let board = words.next().filter(|slug| *slug != "-");
    let mut number = || words.next()?.parse().ok();
    let amount = Amount { requests: 1, bytes_in: number()?, bytes_out: number()?, fetched: number()? };
    (amount.fetched <= 1 && words.next().is_none()).then_some(Line { kind, board, amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_anything_else_is_not() {
        let amount = Amount { requests: 1, bytes_in: 512, bytes_out: 48_213, fetched: 1 };
        assert_eq!(
            parse(b"<190>Nov 27 10:00:00 triptych: picture b 512 48213 1"),
            Some(Line { kind: TrafficKind::Picture, board: Some("b"), amount })
        );
        let amount = Amount { fetched: 0, ..amount };
        assert_eq!(
            parse(b"<190>Nov  7 10:00:00 triptych: refused - 512 48213 0\n"),
            Some(Line { kind: TrafficKind::Refused, board: None, amount })
        );
        for wrong in [
            &b""[..],
            b"picture b 1 2 0",
            b"<190>Nov 27 10:00:00 triptych: ",
            b"<190>Nov 27 10:00:00 triptych: film b 1 2 0",
            b"<190>Nov 27 10:00:00 triptych: picture b 1 2",
            b"<190>Nov 27 10:00:00 triptych: picture b 1 -2 0",
            b"<190>Nov 27 10:00:00 triptych: picture b 1 2 2",
            b"<190>Nov 27 10:00:00 triptych: picture b 1 2 0 4",
            b"<190>Nov 27 10:00:00 triptych: picture \xff 1 2 0",
        ] {
            assert_eq!(parse(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
