//! Parts of a picture: the `Range` header, RFC 9110, section 14.

/// Which part of a representation to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included.
    Bytes(u64, u64),
    /// Nothing of what was asked for is there.
    NotSatisfiable,
}

/// The part that a `Range` header asks for. Anything but one range of bytes is answered with the whole, which the
/// section allows.
pub(super) fn part(range: &str, length: u64) -> Part {
    let Some(spec) = range.strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let (first, last) = match (first, last) {
        ("", suffix) => match suffix.parse::<u64>() {
            Ok(suffix) => (length.saturating_sub(suffix), length.saturating_sub(1)),
            Err(_) => return Part::Whole,
        },
        (first, last) => {
            let Ok(first) = first.parse::<u64>() else { return Part::Whole };
            let end = length.saturating_sub(1);
            match last {
                "" => (first, end),
                last => match last.parse::<u64>() {
                    Ok(last) if last >= first => (first, last.min(end)),
                    _ => return Part::Whole,
                },
            }
        }
    };
    if first >= length { Part::NotSatisfiable } else { Part::Bytes(first, last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_in_all_three_forms() {
        assert_eq!(part("bytes=0-9", 100), Part::Bytes(0, 9));
        assert_eq!(part("bytes=90-", 100), Part::Bytes(90, 99));
        assert_eq!(part("bytes=-10", 100), Part::Bytes(90, 99));
        assert_eq!(part("bytes=50-1000", 100), Part::Bytes(50, 99));
        assert_eq!(part("bytes=-1000", 100), Part::Bytes(0, 99));
    }

    #[test]
    fn what_begins_behind_the_end_cannot_be_sent() {
        assert_eq!(part("bytes=100-", 100), Part::NotSatisfiable);
        assert_eq!(part("bytes=-0", 100), Part::NotSatisfiable);
        assert_eq!(part("bytes=0-0", 0), Part::NotSatisfiable);
    }

    #[test]
    fn everything_else_is_answered_with_the_whole() {
        for range in ["", "bytes=", "bytes=x-", "bytes=9-1", "lines=1-2", "bytes=0-1,5-6", "bytes=--1"] {
            assert_eq!(part(range, 100), Part::Whole, "{range}");
        }
    }
}
