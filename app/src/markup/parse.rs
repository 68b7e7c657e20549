//! Comment → lines of spans. Borrows from the comment; every character of it is in exactly one span.

use crate::domain::PostNo;

/// More quoted posts than this stay plain text: nobody reads them, and each costs a look-up.
const MOST_QUOTED: usize = 100;

/// One line of a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Starts with `>` and quotes no post by its number: "greentext".
    pub(super) quote: bool,
    /// What it consists of.
    pub(super) spans: Vec<Span<'a>>,
}

/// A piece of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// Nothing special.
    Text(&'a str),
    /// `>>123`.
    Post(PostNo, &'a str),
    /// A web address, `http` or `https`.
    Link(&'a str),
}

/// Splits a comment into lines.
pub(super) fn lines(comment: &str) -> impl Iterator<Item = Line<'_>> {
    comment
        .split('\n')
        .map(|line| Line { quote: line.starts_with('>') && !starts_with_number(line), spans: spans(line) })
}

/// The posts that a comment quotes, each once, in order, a hundred at the most.
#[must_use]
pub fn quoted_posts(comment: &str) -> Vec<PostNo> {
    let mut posts = Vec::new();
    for line in lines(comment) {
        for span in line.spans {
            if let Span::Post(no, _) = span
                && !posts.contains(&no)
            {
                posts.push(no);
                if posts.len() == MOST_QUOTED {
                    return posts;
                }
            }
        }
    }
    posts
}

fn spans(line: &str) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    // What is left of the line, and how much of it has been passed over without becoming a span.
    let (mut rest, mut passed) = (line, 0);
    let mut before = ' ';
    while let Some((text, tail)) = rest.split_at_checked(passed) {
        let Some(next) = tail.chars().next() else {
            push_text(&mut spans, text);
            break;
        };
        let found = match next {
            '>' => post_reference(tail),
            'h' if !before.is_alphanumeric() => web_address(tail),
            _ => None,
        };
        if let Some((span, after)) = found {
            push_text(&mut spans, text);
            spans.push(span);
            (rest, passed, before) = (after, 0, ' ');
        } else {
            passed += next.len_utf8();
            before = next;
        }
    }
    spans
}

/// Whether a line begins with `>>` and a digit: meant for a post, also when there can be no such post.
fn starts_with_number(line: &str) -> bool {
    line.strip_prefix(">>").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn push_text<'a>(spans: &mut Vec<Span<'a>>, text: &'a str) {
    if !text.is_empty() {
        spans.push(Span::Text(text));
    }
}

/// `>>123` at the start of a text, and what follows it.
fn post_reference(text: &str) -> Option<(Span<'_>, &str)> {
    let digits_on = text.strip_prefix(">>")?;
    let digits = digits_on.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits_on.len());
    let no: i32 = digits_on.get(..digits)?.parse().ok()?;
    let (reference, after) = text.split_at_checked(2 + digits)?;
    (no > 0).then_some((Span::Post(PostNo(no), reference), after))
}

/// A web address at the start of a text, and what follows it.
fn web_address(text: &str) -> Option<(Span<'_>, &str)> {
    let host_on = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    // RFC 3986, appendix C: delimited by white space, angle brackets and double quotes.
    let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"');
    let length = text.find(ends).unwrap_or(text.len());
    let address = without_punctuation(text.get(..length)?);
    let host = host_on.chars().next()?;
    if address.len() <= text.len() - host_on.len() || !(host.is_alphanumeric() || host == '[') {
        return None;
    }
    url::Url::parse(address).ok()?;
    text.split_at_checked(address.len()).map(|(address, after)| (Span::Link(address), after))
}

/// Leaves the punctuation of the sentence out of an address at its end. A closing bracket belongs to the address
/// when the address opened it.
fn without_punctuation(mut address: &str) -> &str {
    let count = |text: &str, c: char| text.matches(c).count();
    let mut surplus_round = count(address, ')').saturating_sub(count(address, '('));
    let mut surplus_square = count(address, ']').saturating_sub(count(address, '['));
    while let Some(last) = address.chars().next_back() {
        match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '。' | '、' => {}
            ')' if surplus_round > 0 => surplus_round -= 1,
            ']' if surplus_square > 0 => surplus_square -= 1,
            _ => break,
        }
        address = address.strip_suffix(last).unwrap_or_default();
    }
    address
}
