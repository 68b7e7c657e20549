//! Spans → HTML. The only place in which a comment becomes markup.

use super::parse::{Span, lines};
use crate::domain::PostNo;

/// Renders a comment. `link` answers the address of a quoted post, or `None` for one that does not exist, whose
/// number then stays plain text.
pub fn render(comment: &str, link: impl Fn(PostNo) -> Option<String>) -> String {
    let mut html = String::with_capacity(comment.len() + comment.len() / 4);
    for (index, line) in lines(comment).enumerate() {
        if index > 0 {
            html.push_str("<br>");
        }
        if line.quote {
            html.push_str("<span class=\"quote\">");
        }
        for span in &line.spans {
            push_span(&mut html, span, &link);
        }
        if line.quote {
            html.push_str("</span>");
        }
    }
    html
}

fn push_span(html: &mut String, span: &Span<'_>, link: &impl Fn(PostNo) -> Option<String>) {
    match *span {
        Span::Text(text) => escape(html, text),
        Span::Post(no, text) => {
            if let Some(address) = link(no) {
                push_link(html, "<a class=\"quotelink\" href=\"", &address, "\">", text);
            } else {
                escape(html, text);
            }
        }
        Span::Link(address) => {
            push_link(html, "<a href=\"", address, "\" rel=\"nofollow noopener noreferrer ugc\">", address);
        }
    }
}

fn push_link(html: &mut String, before: &str, address: &str, between: &str, text: &str) {
    html.push_str(before);
    escape(html, address);
    html.push_str(between);
    escape(html, text);
    html.push_str("</a>");
}

/// Escapes for an element's text and for an attribute in either kind of quotes.
fn escape(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}
