//! Comment → safe HTML. Pure and total: every text has a rendering, and no text becomes markup of its own.
//!
//! A comment is parsed into lines of [`Span`]s, and only this module turns spans into HTML, escaping on the way out.
//! It does not know which posts exist: whoever calls it says where a quoted post stands.
//!
//! The class names (`quote`, `quotelink`) and `<br>` are those of 4chan's and vichan's JSON, which clients parse.

mod parse;
mod render;

pub use parse::{Span, quoted_posts};
pub use render::render;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::PostNo;

    fn html(comment: &str) -> String {
        render(comment, |no| (no.0 < 1000).then(|| format!("/b/res/1.html#{no}")))
    }

    #[test]
    fn lines_are_kept() {
        assert_eq!(html("a\n\nb"), "a<br><br>b");
    }

    #[test]
    fn markup_of_the_poster_is_text() {
        assert_eq!(
            html("<script>alert('x')</script> & \"y\""),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"
        );
    }

    #[test]
    fn a_line_that_starts_with_an_angle_is_a_quote() {
        assert_eq!(html(">implying\nno > here"), "<span class=\"quote\">&gt;implying</span><br>no &gt; here");
        assert_eq!(html(">> not a number"), "<span class=\"quote\">&gt;&gt; not a number</span>");
    }

    #[test]
    fn a_number_after_two_angles_links_to_its_post() {
        assert_eq!(html("see >>12, ok"), r#"see <a class="quotelink" href="/b/res/1.html#12">&gt;&gt;12</a>, ok"#);
        assert_eq!(html(">>12"), r#"<a class="quotelink" href="/b/res/1.html#12">&gt;&gt;12</a>"#);
    }

    #[test]
    fn a_number_that_is_no_post_is_text() {
        assert_eq!(html("x >>5000"), "x &gt;&gt;5000");
        assert_eq!(html(">>99999999999999"), "&gt;&gt;99999999999999");
        assert_eq!(html(">>0"), "&gt;&gt;0");
    }

    #[test]
    fn web_addresses_become_links() {
        let link = |url: &str| format!(r#"<a href="{url}" rel="nofollow noopener noreferrer ugc">{url}</a>"#);
        assert_eq!(html("(see https://example.org/a_(b).)"), format!("(see {}.)", link("https://example.org/a_(b)")));
        assert_eq!(html("http://example.org, then"), format!("{}, then", link("http://example.org")));
        assert_eq!(
            html("https://example.org/?a=1&b=\"x"),
            format!("{}&quot;x", link("https://example.org/?a=1&amp;b="))
        );
    }

    #[test]
    fn other_schemes_and_parts_of_words_stay_text() {
        for text in ["javascript:alert(1)", "xhttp://example.org", "https://", "data:text/html,x", "http:///nohost"] {
            assert_eq!(html(text), text);
        }
    }

    #[test]
    fn quoted_posts_are_listed_once_in_order_and_only_so_many() {
        assert_eq!(quoted_posts(">>3 >>1\n>>3 >>>2"), [PostNo(3), PostNo(1), PostNo(2)]);
        let flood = (1..500).map(|n| format!(">>{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(quoted_posts(&flood).len(), 100);
    }

    proptest! {
        #[test]
        fn no_input_makes_an_element_that_is_not_ours(comment in r#"[<>&"'/a-z0-9:.\n ]{0,200}|\PC{0,100}"#) {
            let html = html(&comment);
            let stripped = html
                .replace("<br>", "")
                .replace("<span class=\"quote\">", "").replace("</span>", "")
                .replace(" rel=\"nofollow noopener noreferrer ugc\">", "")
                .replace("<a href=\"", "").replace("</a>", "")
                .replace("<a class=\"quotelink\" href=\"", "");
            prop_assert!(!stripped.contains('<'), "{html}");
        }

        #[test]
        fn the_text_that_was_typed_is_all_there(comment in r#"[<>&"'/a-z0-9:.\n ]{0,200}|\PC{0,100}"#) {
            let html = html(&comment);
            let mut text = String::new();
            let mut inside = false;
            for c in html.replace("<br>", "\n").chars() {
                match c {
                    '<' => inside = true,
                    '>' if inside => inside = false,
                    c if !inside => text.push(c),
                    _ => {}
                }
            }
            let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(text, comment);
        }
    }
}
