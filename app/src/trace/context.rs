//! The header `traceparent` (W3C Trace Context, level 1): which trace a request belongs to.

use std::fmt;

use uuid::Uuid;

/// The length of a header of version 00, and of what later versions begin with.
const LENGTH: usize = 55;

/// The number of a trace, the same for everything that one request of a visitor caused anywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

/// The number of one step of a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(u64);

/// How many lots there are: those of the 56 bits that are always random.
pub(super) const LOTS: u64 = 1 << 56;

/// Room for a number as text.
pub type Text = [u8; 32];

impl TraceId {
    fn random() -> Self {
        // 122 bits of it are random, and so are all of the last 56, which others may decide by.
        Self(Uuid::new_v4().as_u128())
    }

    /// As it is written everywhere.
    pub fn as_str(self, text: &mut Text) -> &str {
        Uuid::from_u128(self.0).simple().encode_lower(text)
    }

    /// As it is sent.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    /// A number below [`LOTS`] that everybody who sees this trace draws alike.
    pub(super) const fn lot(self) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "the last bits are what is wanted")]
        let last = self.0 as u64;
        last % LOTS
    }
}

impl SpanId {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        // The first half has 60 random bits, the second 62; neither is ever 0.
        Self(Uuid::new_v4().as_u64_pair().1)
    }

    /// As it is written everywhere.
    pub fn as_str(self, text: &mut Text) -> &str {
        let digits = Uuid::from_u128(u128::from(self.0)).simple().encode_lower(text);
        digits.get(16..).unwrap_or_default()
    }

    /// As it is sent.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a header says: who asked us, and for which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    trace: TraceId,
    span: SpanId,
    /// Whether the trace is recorded where it comes from.
    pub sampled: bool,
}

impl Parent {
    /// Reads a header. `None` for whatever is not exactly as the specification says: then a new trace begins.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (head, rest) = header.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = fields(head)?;
        let version = hexadecimal(version)?;
        // Later versions may have more behind the flags, which is read by whoever knows them. 255 will never be one.
        let is_well_formed = match version {
            0 => rest.is_empty(),
            255 => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let (trace, span, flags) = (hexadecimal(trace)?, hexadecimal(span)?, hexadecimal(flags)?);
        let is_valid = is_well_formed && trace != 0 && span != 0;
        is_valid.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(u64::try_from(span).ok()?),
            sampled: flags & 1 == 1,
        })
    }
}

/// The four fields, by their places.
fn fields(head: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = head.split(|byte| *byte == b'-');
    let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let lengths = fields.map(<[u8]>::len);
    (parts.next().is_none() && lengths == [2, 32, 16, 2]).then_some(fields)
}

/// Lower case only, and nothing but digits.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Where a request stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The request itself.
    pub span: SpanId,
    /// Who asked, if that is known.
    pub parent: Option<SpanId>,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl Context {
    /// Continues a trace, whose beginning has decided whether it is recorded.
    pub(super) fn continued(parent: Parent) -> Self {
        Self { trace: parent.trace, span: SpanId::random(), parent: Some(parent.span), sampled: parent.sampled }
    }

    /// Begins a trace.
    pub(super) fn begun(is_sampled: impl FnOnce(TraceId) -> bool) -> Self {
        let trace = TraceId::random();
        Self { trace, span: SpanId::random(), parent: None, sampled: is_sampled(trace) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(header: &str) -> Option<(String, String, bool)> {
        let Parent { trace, span, sampled } = Parent::parse(header.as_bytes())?;
        Some((format!("{trace:?}"), format!("{span:?}"), sampled))
    }

    #[test]
    fn what_the_specification_allows_is_read() {
        let read = |sampled| Some((TRACE.to_owned(), SPAN.to_owned(), sampled));
        for (header, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            // Flags that are not known are passed over.
            (format!("00-{TRACE}-{SPAN}-fe"), false),
            (format!("00-{TRACE}-{SPAN}-03"), true),
            // Later versions: what is known of them, and anything behind it.
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what the future will be like"), true),
            (format!("cc-{TRACE}-{SPAN}-01-"), true),
            (format!("fe-{TRACE}-{SPAN}-00"), false),
        ] {
            assert_eq!(parse(&header), read(sampled), "{header}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        let upper = TRACE.to_uppercase();
        for header in [
            String::new(),
            "00".to_owned(),
            TRACE.to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-011"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("+0-{TRACE}-{SPAN}-01"),
            format!("FE-{TRACE}-{SPAN}-01"),
            // Version 00 has nothing behind its flags.
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01.more"),
            format!("01-{TRACE}-{SPAN}-011"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-0X"),
            format!("00-{TRACE}-{SPAN}-0F"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}0-0f067aa0ba902b7-01"),
            format!("00-bf92f3577b34da6a3ce929d0e0e4736-{SPAN}0-01"),
            format!("00-bf92f3577b34da6a3ce929d0e0e4736g-{SPAN}-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(parse(&header), None, "{header}");
        }
    }

    #[test]
    fn numbers_are_written_as_they_were_read() {
        let parent = Parent::parse(format!("00-{TRACE}-{SPAN}-01").as_bytes()).unwrap();
        let context = Context::continued(parent);
        assert_eq!(context.trace.as_str(&mut Text::default()), TRACE);
        assert_eq!(parent.span.as_str(&mut Text::default()), SPAN);
        assert_eq!(context.parent, Some(parent.span));
        assert_ne!(context.span, parent.span);
        assert!(context.sampled);
    }

    #[test]
    fn what_is_begun_can_be_read_by_others() {
        for _ in 0..100 {
            let Context { trace, span, .. } = Context::begun(|_| true);
            let (trace, span) =
                (trace.as_str(&mut Text::default()).to_owned(), span.as_str(&mut Text::default()).to_owned());
            let header = format!("00-{trace}-{span}-01");
            assert_eq!(parse(&header), Some((trace, span, true)), "{header}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_the_parser_fail(header in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Parent::parse(&header);
        }

        #[test]
        fn one_character_that_is_wrong_is_enough(place in 0..LENGTH, byte in any::<u8>()) {
            let good = format!("00-{TRACE}-{SPAN}-01");
            let mut header = good.clone().into_bytes();
            header[place] = byte;
            let is_digit = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_separator = good.as_bytes()[place] == b'-';
            // A later version than 00 is one, too, but for ff, which a single change cannot make.
            let is_right = if is_separator { byte == b'-' } else { is_digit };
            prop_assert_eq!(Parent::parse(&header).is_some(), is_right, "{}", String::from_utf8_lossy(&header));
        }
    }
}
