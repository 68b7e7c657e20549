//! What a visitor sends, and the rules it has to keep before anything is done with it.

use super::post::PostNo;
use super::refusal::{Refusal, TextField};

/// The limits that a post has to keep, shown beside its form.
#[derive(Debug, Clone)]
pub struct PostLimits {
    /// Pictures on one post.
    pub files: usize,
    /// Bytes of one picture.
    pub file_bytes: usize,
    /// Characters (Unicode scalar values) of a comment.
    pub comment_chars: usize,
    /// Characters of a name.
    pub name_chars: usize,
    /// Characters of a subject.
    pub subject_chars: usize,
}

impl PostLimits {
    /// Bytes of all texts of a form that are read, and shown again should the post be refused: room for the longest
    /// post that is allowed, whatever its characters, and for a good deal more than that.
    #[must_use]
    pub const fn text_bytes(&self) -> usize {
        let longest = (self.comment_chars + self.name_chars + self.subject_chars).saturating_mul(4);
        let with_other_fields = longest.saturating_add(32 << 10);
        if with_other_fields > LEAST_TEXT_BYTES { with_other_fields } else { LEAST_TEXT_BYTES }
    }

    /// Bytes of memory that the pictures of one post can take: every file once, and the largest once more, because one
    /// at a time is copied.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.file_bytes.saturating_mul(self.files.saturating_add(1))
    }
}

/// Enough to show what somebody pasted by mistake.
const LEAST_TEXT_BYTES: usize = 128 << 10;

/// The text fields of a posting form, exactly as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Field `name`.
    pub name: String,
    /// Field `email`; `sage` in it means "do not bump".
    pub email: String,
    /// Field `sub`.
    pub subject: String,
    /// Field `com`.
    pub comment: String,
    /// Field `spoiler`: hide the pictures.
    pub spoiler: bool,
    /// Whether this is all.
    pub missing: Missing,
}

/// What of a form is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// It is all there.
    #[default]
    Nothing,
    /// What was too long to be kept.
    TooLong,
    /// What did not arrive, or could not be read.
    Unread,
}

impl Draft {
    /// Whether nothing was typed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.name, &self.subject, &self.comment].into_iter().all(String::is_empty)
    }
}

/// The text of a post that keeps every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostText {
    /// `None` for anonymous.
    pub name: Option<String>,
    /// Subject line.
    pub subject: Option<String>,
    /// Does not bump its thread.
    pub sage: bool,
    /// May be empty. Lines end in `\n` alone, and no line or comment ends in blanks.
    pub comment: String,
}

impl PostText {
    /// Cleans and checks a draft.
    ///
    /// # Errors
    /// A character that no text may hold, or a field that is too long.
    pub fn new(draft: &Draft, limits: &PostLimits) -> Result<Self, Refusal> {
        let comment = field(TextField::Comment, &draft.comment, limits.comment_chars, true)?.unwrap_or_default();
        Ok(Self {
            name: field(TextField::Name, &draft.name, limits.name_chars, false)?,
            subject: field(TextField::Subject, &draft.subject, limits.subject_chars, false)?,
            sage: draft.email.trim().eq_ignore_ascii_case("sage"),
            comment,
        })
    }
}

/// Trims a field and checks it; `None` when nothing is left.
fn field(field: TextField, text: &str, most: usize, lines: bool) -> Result<Option<String>, Refusal> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // PostgreSQL takes no NUL, XML feeds take no control characters, and neither means anything to a reader.
    if let Some(control) = text.chars().find(|&c| c.is_control() && !(c == '\t' || (lines && c == '\n'))) {
        return Err(Refusal::ControlCharacter { field, character: control });
    }
    let text = if lines {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n").trim_matches('\n').to_owned()
    } else {
        text.trim().to_owned()
    };
    if !text.chars().any(is_seen) {
        return Ok(None);
    }
    let chars = text.chars().count();
    if chars > most {
        return Err(Refusal::TextTooLong { field, chars, most });
    }
    Ok(Some(text))
}

/// Whether a character leaves a mark. White space does not, nor do those that only join, separate or turn others
/// (Unicode's `Default_Ignorable_Code_Point`, as far as people type them to post nothing), nor the Hangul fillers.
fn is_seen(c: char) -> bool {
    let ignorable = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'
    );
    !(ignorable || c.is_whitespace() || c.is_control())
}

/// Cleans the name of an uploaded file for display: the last part of a path, without control and direction
/// characters, at most 100 characters with the extension kept. Never used to name anything that is stored.
#[must_use]
pub fn display_file_name(sent: &str) -> String {
    const MOST: usize = 100;
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    // U+202A to U+202E and U+2066 to U+2069 turn the reading direction around: "gpj.exe" would read "exe.jpg".
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
    let clean: String = last.chars().filter(|&c| !c.is_control() && !turns(c)).collect();
    let clean = clean.trim();
    if clean.chars().count() <= MOST {
        return if clean.is_empty() { "picture".to_owned() } else { clean.to_owned() };
    }
    let (stem, extension) = clean.rsplit_once('.').unwrap_or((clean, ""));
    let extension: String = extension.chars().take(8).collect();
    let room = MOST - extension.chars().count() - 2;
    let stem: String = stem.chars().take(room).collect();
    if extension.is_empty() { format!("{stem}…") } else { format!("{stem}….{extension}") }
}

/// Where a post goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// It opens a thread.
    NewThread,
    /// It answers in this one.
    Reply(PostNo),
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PostLimits =
        PostLimits { files: 4, file_bytes: 1 << 20, comment_chars: 20, name_chars: 5, subject_chars: 5 };

    fn text(comment: &str) -> Result<PostText, Refusal> {
        PostText::new(&Draft { comment: comment.to_owned(), ..Draft::default() }, &LIMITS)
    }

    #[test]
    fn line_ends_are_made_one_kind_and_blank_edges_go() {
        assert_eq!(text("\r\n a \r\nb\rc\t\n\n").unwrap().comment, " a\nb\nc");
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(text(&"밤".repeat(20)).is_ok());
        assert_eq!(text(&"밤".repeat(21)).unwrap_err().code(), "text_too_long");
    }

    #[test]
    fn control_characters_are_named() {
        for bad in ["a\0b", "a\u{8}b", "a\u{85}b"] {
            assert_eq!(text(bad).unwrap_err().code(), "control_character", "{bad:?}");
        }
        let draft = Draft { name: "a\nb".to_owned(), ..Draft::default() };
        assert_eq!(PostText::new(&draft, &LIMITS).unwrap_err().code(), "control_character");
    }

    #[test]
    fn blank_fields_are_absent() {
        let draft = Draft { name: "  ".to_owned(), email: " Sage ".to_owned(), ..Draft::default() };
        let text = PostText::new(&draft, &LIMITS).unwrap();
        assert_eq!((text.name, text.sage), (None, true));
    }

    #[test]
    fn what_nobody_can_see_is_nothing() {
        for invisible in ["\u{200b}", "\u{202e}\u{3164}", " \u{feff}\n\u{2060} ", "\u{e0041}"] {
            assert_eq!(text(invisible).unwrap().comment, "", "{invisible:?}");
        }
        assert_eq!(text("👩\u{200d}🚀").unwrap().comment, "👩\u{200d}🚀");
    }

    #[test]
    fn file_names_are_made_harmless() {
        assert_eq!(display_file_name("C:\\fakepath\\cat.jpg"), "cat.jpg");
        assert_eq!(display_file_name("../../etc/passwd"), "passwd");
        assert_eq!(display_file_name("a\u{202e}gpj.exe\r\n"), "agpj.exe");
        assert_eq!(display_file_name("\0"), "picture");
        let long = display_file_name(&format!("{}.jpeg", "x".repeat(300)));
        assert_eq!(long.chars().count(), 100);
        assert!(long.ends_with("….jpeg"));
    }
}
