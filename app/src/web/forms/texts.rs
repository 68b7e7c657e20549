//! The texts of a form: how much of them is kept, and the memory that they take.
//!
//! A text is counted twice, as it is and as HTML: should the post be refused, the page shows everything that was typed
//! again.

use crate::domain::{PostLimits, Refusal};
use crate::memory::{Budget, Exhausted, Share};

/// Fields of a form: the hundred posts of a deletion, and a few that clients send and that mean nothing to us.
pub(super) const MOST_FIELDS: usize = 120;
/// What a long field leaves to the short ones behind it.
const RESERVE: usize = 16 << 10;
/// A field that has no more than this is short.
const SHORT: usize = 4 << 10;
/// The room that a text gets at a time while it arrives.
const STEP: usize = 4 << 10;
/// What a byte can become in HTML: `&#38;`.
const LONGEST_ESCAPE: usize = 5;
/// What a byte can become in a URL-encoded form: `%26`.
const LONGEST_ENCODING: usize = 3;

/// The memory of the texts of one form.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    limits: &'a PostLimits,
    share: Share,
    /// Bytes of the texts that are kept.
    kept: usize,
    /// What they take together with their HTML.
    counted: usize,
}

/// A field, or a whole URL-encoded form, as it arrives.
#[derive(Debug, Default)]
pub(super) struct IncomingText {
    bytes: Vec<u8>,
    /// Something of it was not kept, and so nothing that came after that.
    is_cut: bool,
}

impl<'a> Texts<'a> {
    pub(super) fn new(budget: &Budget, limits: &'a PostLimits, announced: Option<usize>) -> Self {
        let announced = announced.unwrap_or(usize::MAX);
        let (encoded, text) = (announced.min(most_encoded(limits)), announced.min(limits.text_bytes()));
        let share = budget.share(encoded + text * (1 + LONGEST_ESCAPE));
        Self { limits, share, kept: 0, counted: 0 }
    }

    /// What holds the memory, once everything is read.
    pub(super) fn into_share(mut self) -> Share {
        self.share.finish();
        self.share
    }

    /// Adds to a field what has come of it, as far as there is room.
    pub(super) async fn add(&mut self, text: &mut IncomingText, chunk: &[u8]) -> Result<(), Refusal> {
        let is_short = text.bytes.len() + chunk.len() <= SHORT;
        let most = self.limits.text_bytes() - if is_short { 0 } else { RESERVE };
        self.append(text, chunk, most.saturating_sub(self.kept)).await
    }

    /// Adds to a URL-encoded form what has come of it, as far as there is room.
    pub(super) async fn add_encoded(&mut self, form: &mut IncomingText, chunk: &[u8]) -> Result<(), Refusal> {
        self.append(form, chunk, most_encoded(self.limits)).await
    }

    /// Appends as much as makes it `most` bytes.
    async fn append(&mut self, text: &mut IncomingText, chunk: &[u8], most: usize) -> Result<(), Refusal> {
        if text.is_cut {
            return Ok(());
        }
        let room = most.saturating_sub(text.bytes.len());
        let kept = chunk.get(..room.min(chunk.len())).unwrap_or_default();
        let capacity = (text.bytes.len() + kept.len()).next_multiple_of(STEP);
        if capacity > text.bytes.capacity() {
            let granted = self.share.grow_to(self.counted + capacity).await;
            if granted.is_err() {
                text.is_cut = true;
            }
            granted.map_err(exhausted)?;
            text.bytes.reserve_exact(capacity - text.bytes.len());
        }
        text.bytes.extend_from_slice(kept);
        text.is_cut = kept.len() < chunk.len();
        if text.is_cut { Err(self.too_large()) } else { Ok(()) }
    }

    /// The text of a field that has ended, or broke off.
    pub(super) async fn finish(&mut self, text: IncomingText, ended: bool) -> (String, Result<(), Refusal>) {
        let mut bytes = text.bytes;
        let is_whole = ended && !text.is_cut;
        if !is_whole {
            bytes.truncate(whole_characters(&bytes));
        }
        bytes.shrink_to_fit();
        let (text, valid) = match String::from_utf8(bytes) {
            Ok(text) => (text, Ok(())),
            Err(error) => {
                let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
                (shown, if is_whole { Err(Refusal::NotUtf8) } else { Ok(()) })
            }
        };
        let (text, kept) = self.keep(text).await;
        (text, valid.and(kept))
    }

    /// Counts a text together with its HTML. What there is no room for is cut off.
    async fn keep(&mut self, mut text: String) -> (String, Result<(), Refusal>) {
        let room = self.limits.text_bytes().saturating_sub(self.kept);
        let fits = text.len() <= room;
        if !fits {
            text.truncate(text.floor_char_boundary(room));
            text.shrink_to_fit();
        }
        let counted = self.counted + text.len() + html_bytes(&text);
        if let Err(error) = self.share.grow_to(counted).await {
            drop(text);
            self.share.shrink_to(self.counted);
            return (String::new(), Err(exhausted(error)));
        }
        // While it arrived, it may have had more room than it needed.
        self.share.shrink_to(counted);
        self.counted = counted;
        self.kept += text.len();
        (text, if fits { Ok(()) } else { Err(self.too_large()) })
    }

    /// The fields of a URL-encoded form that has ended, or broke off.
    pub(super) async fn decode(
        &mut self,
        form: IncomingText,
        ended: bool,
        most_fields: usize,
    ) -> (Vec<(String, String)>, Result<(), Refusal>) {
        let mut bytes = form.bytes;
        let is_whole = ended && !form.is_cut;
        if !is_whole {
            bytes.truncate(whole_encodings(&bytes));
        }
        // Both are there while one is made of the other.
        let encoded = bytes.capacity();
        self.counted += encoded;
        let (mut fields, mut outcome) = (Vec::new(), Ok(()));
        for (name, value) in url::form_urlencoded::parse(&bytes) {
            if fields.len() == most_fields {
                outcome = Err(Refusal::TooManyFields { most: most_fields });
                break;
            }
            let value = if is_whole { value.into_owned() } else { value.trim_end_matches('\u{fffd}').to_owned() };
            let (value, kept) = self.keep(value).await;
            fields.push((name.into_owned(), value));
            if kept.is_err() {
                outcome = kept;
                break;
            }
        }
        drop(bytes);
        self.counted -= encoded;
        self.share.shrink_to(self.counted);
        (fields, outcome)
    }

    fn too_large(&self) -> Refusal {
        Refusal::TextTooLarge { comment_chars: self.limits.comment_chars }
    }
}

fn exhausted(_: Exhausted) -> Refusal {
    Refusal::Busy
}

/// The most bytes of a URL-encoded form that are read.
fn most_encoded(limits: &PostLimits) -> usize {
    limits.text_bytes() * LONGEST_ENCODING
}

/// How long a text is as HTML. Each of these characters is written as its number, with five bytes.
fn html_bytes(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')).count();
    text.len() + escaped * (LONGEST_ESCAPE - 1)
}

/// Where the last character ends that is not cut in two.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// Where the last `%26` ends that is not cut in two.
fn whole_encodings(bytes: &[u8]) -> usize {
    let last = bytes.len().saturating_sub(LONGEST_ENCODING - 1);
    let end = bytes.get(last..).unwrap_or_default();
    end.iter().position(|&byte| byte == b'%').map_or(bytes.len(), |cut| last + cut)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    const LIMITS: PostLimits =
        PostLimits { files: 1, file_bytes: 1, comment_chars: 5000, name_chars: 75, subject_chars: 100 };

    /// Sends fields chunk by chunk; answers what is kept, the codes of what was refused, and what is counted.
    async fn fields(budget: usize, sent: &[&[u8]], ended: bool) -> (Vec<String>, Vec<&'static str>, i64) {
        let gauge = Gauge::default();
        let mut texts = Texts::new(&Budget::new(budget, gauge.clone()), &LIMITS, None);
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for field in sent {
            let mut text = IncomingText::default();
            for chunk in field.chunks(1000) {
                refused.extend(texts.add(&mut text, chunk).await.err().map(|refusal| refusal.code()));
                assert!(gauge.get() >= i64::try_from(text.bytes.capacity()).unwrap());
            }
            let (text, outcome) = texts.finish(text, ended).await;
            refused.extend(outcome.err().map(|refusal| refusal.code()));
            kept.push(text);
        }
        let counted = gauge.get();
        drop(texts.into_share());
        assert_eq!(gauge.get(), 0);
        (kept, refused, counted)
    }

    #[tokio::test]
    async fn a_text_is_counted_as_it_is_and_as_html() {
        let (kept, refused, counted) = fields(1 << 20, &[b"Zo\xc3\xab", b"<&>\"'"], true).await;
        assert_eq!((kept.join(" "), refused.len()), ("Zoë <&>\"'".to_owned(), 0));
        assert_eq!(counted, 4 + 4 + 5 + 25);
        for text in ["", "plain", "<b>\"Zoë\"</b> & 'co'", "\0\r\n\t"] {
            let html = askama::filters::escape(text, askama::filters::Html).unwrap().to_string();
            assert_eq!(html_bytes(text), html.len(), "{text:?} is {html:?}");
        }
    }

    #[tokio::test]
    async fn a_long_field_is_cut_between_characters_and_leaves_room_for_short_ones() {
        let long = "밤".repeat(100_000);
        let (kept, refused, _) = fields(10 << 20, &[long.as_bytes(), b"on", &[b'p'; 4000]], true).await;
        let [first, second, third] = &kept[..] else { panic!("{kept:?}") };
        assert!(long.starts_with(first.as_str()));
        assert!(first.len() > LIMITS.text_bytes() - RESERVE - 4, "{} bytes", first.len());
        assert_eq!((second.as_str(), third.len()), ("on", 4000));
        assert_eq!(refused, ["text_too_large"], "told once");
    }

    #[tokio::test]
    async fn all_texts_together_have_an_end() {
        let field = [b'x'; 3000];
        let many: Vec<&[u8]> = (0..100).map(|_| &field[..]).collect();
        let (kept, refused, counted) = fields(10 << 20, &many, true).await;
        let total: usize = kept.iter().map(String::len).sum();
        assert!(total <= LIMITS.text_bytes(), "{total}");
        assert!(!refused.is_empty());
        assert_eq!(counted, 2 * i64::try_from(total).unwrap());
    }

    #[tokio::test]
    async fn what_is_no_utf_8_is_counted_as_it_is_shown() {
        let (kept, refused, counted) = fields(1 << 20, &[b"bad \xff text"], true).await;
        assert_eq!((&kept[..], &refused[..]), (&["bad \u{fffd} text".to_owned()][..], &["not_utf8"][..]));
        assert_eq!(counted, 2 * 12);
        let garbage = vec![0xff; 80_000];
        let (kept, refused, _) = fields(10 << 20, &[&garbage], true).await;
        assert!(kept.concat().len() <= LIMITS.text_bytes(), "a byte becomes three");
        assert_eq!(refused, ["not_utf8"]);
    }

    #[tokio::test]
    async fn of_what_broke_off_the_whole_characters_are_kept() {
        let (kept, refused, _) = fields(1 << 20, &["밤하늘".as_bytes().get(..8).unwrap()], false).await;
        assert_eq!((kept.concat(), refused.len()), ("밤하".to_owned(), 0));
    }

    #[tokio::test]
    async fn without_memory_nothing_is_kept() {
        let (kept, refused, counted) = fields(STEP + 100, &[b"short", &[b'x'; 5000], b"short"], true).await;
        assert_eq!(kept, ["short", "", "short"].map(str::to_owned));
        assert_eq!((&refused[..], counted), (&["busy", "busy"][..], 20), "neither the text nor its HTML has room");
    }

    async fn decoded(form: &str, ended: bool) -> (Vec<(String, String)>, Option<&'static str>) {
        let gauge = Gauge::default();
        let mut texts = Texts::new(&Budget::new(2 << 20, gauge.clone()), &LIMITS, None);
        let mut encoded = IncomingText::default();
        let mut refused = None;
        for chunk in form.as_bytes().chunks(1000) {
            refused = refused.or(texts.add_encoded(&mut encoded, chunk).await.err());
        }
        let (fields, outcome) = texts.decode(encoded, ended, 3).await;
        let counted: usize = fields.iter().map(|(_, value)| value.len() + html_bytes(value)).sum();
        assert_eq!(gauge.get(), i64::try_from(counted).unwrap());
        (fields, refused.or(outcome.err()).map(|refusal| refusal.code()))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn a_url_encoded_form_is_decoded_as_far_as_it_came() {
        let whole = decoded("name=Zo%C3%AB&com=a+%26+b", true).await;
        assert_eq!(whole, (vec![pair("name", "Zoë"), pair("com", "a & b")], None));
        for (cut, comment) in [("com=a%2", "a"), ("com=a%", "a"), ("com=Zo%C3", "Zo"), ("com=Zo%C3%A", "Zo")] {
            assert_eq!(decoded(cut, false).await, (vec![pair("com", comment)], None), "{cut}");
        }
        let (fields, refused) = decoded("a=1&b=2&c=3&d=4", true).await;
        assert_eq!((fields.len(), refused), (3, Some("too_many_parts")));
        let (fields, refused) = decoded(&format!("com={}", "%26".repeat(200_000)), true).await;
        assert_eq!(refused, Some("text_too_large"));
        assert_eq!(fields, [pair("com", &"&".repeat(LIMITS.text_bytes() - 2))], "what was read of it");
    }
}
