//! Every page in every state keeps the rules that pages have: nothing escapes, everything is named, nothing moves.
#![expect(clippy::expect_used, reason = "a test that cannot go on should stop")]

#[path = "views/samples.rs"]
mod samples;

use std::collections::HashSet;
use std::path::Path;

use scraper::{ElementRef, Html, Selector};
use triptych::web::views::text;

fn select<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).expect("a valid selector")).collect()
}

fn words(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Calls `check` with the name and the document of every sample page.
fn every_page(check: impl Fn(&str, &Html)) {
    for (name, html) in samples::pages() {
        check(name, &Html::parse_document(&html));
    }
}

fn page(wanted: &str) -> Html {
    let (_, html) = samples::pages().into_iter().find(|(name, _)| *name == wanted).expect("a sample of that name");
    Html::parse_document(&html)
}

#[test]
fn no_text_becomes_markup() {
    every_page(|name, page| {
        assert!(select(page, "script, style, iframe, object, embed, base").is_empty(), "{name}");
        assert!(select(page, "img[src=x]").is_empty(), "{name}");
        for element in select(page, "*") {
            for (attribute, value) in element.value().attrs() {
                assert!(
                    !attribute.starts_with("on") && attribute != "style",
                    "{name}: {attribute} on {}",
                    element.value().name()
                );
                assert!(!value.trim_start().to_lowercase().starts_with("javascript:"), "{name}: {value}");
            }
        }
        if name.ends_with("-hostile") {
            let title = select(page, "title").first().map(|title| words(*title)).expect("a title");
            assert!(title.contains("<script>alert(1)</script>"), "{name}: shown as it was typed: {title}");
        }
    });
}

#[test]
fn what_was_typed_is_given_back_whole() {
    let refused = page("error-refused");
    let value = |selector: &str| {
        select(&refused, selector).first().and_then(|field| field.attr("value")).map(str::to_owned).expect(selector)
    };
    assert_eq!(value("[name=name]"), "산지기");
    assert_eq!(value("[name=sub]"), "Light");
    let comment: String = select(&refused, "textarea").iter().flat_map(ElementRef::text).collect();
    assert_eq!(comment, "\nThe text that I typed\n>and more of it");
    assert_eq!(select(&refused, "[name=email][checked], [name=spoiler][checked]").len(), 2);
    let hostile = page("error-hostile");
    let comment: String = select(&hostile, "textarea").iter().flat_map(ElementRef::text).collect();
    assert_eq!(comment, samples::HOSTILE);
}

#[test]
fn every_page_has_one_place_for_a_line_that_comes_later() {
    for (name, html) in samples::pages().into_iter().filter(|(name, _)| *name != "thread-as-of") {
        let marked = Html::parse_document(&samples::as_of(&html).expect(name));
        assert_eq!(select(&marked, "main > [role=status]:first-child time[datetime]").len(), 1, "{name}");
    }
}

#[test]
fn pictures_have_sides_and_words() {
    every_page(|name, page| {
        for picture in select(page, "img") {
            let side = |side: &str| picture.attr(side).and_then(|value| value.parse::<u32>().ok()).unwrap_or(0);
            assert!(
                (1..=250).contains(&side("width")) && (1..=250).contains(&side("height")),
                "{name}: {}",
                picture.html()
            );
            assert!(picture.attr("alt").is_some_and(|alt| !alt.is_empty()), "{name}: {}", picture.html());
            assert!(picture.attr("loading").is_some() && picture.attr("decoding") == Some("async"), "{name}");
        }
    });
}

#[test]
fn every_control_has_a_label() {
    every_page(|name, page| {
        for control in select(page, "input:not([type=hidden]), textarea, select") {
            let wrapped =
                control.ancestors().filter_map(ElementRef::wrap).find(|element| element.value().name() == "label");
            let named =
                control.attr("id").and_then(|id| select(page, &format!("label[for='{id}']")).into_iter().next());
            let label = wrapped.or(named).map(words).unwrap_or_default();
            assert!(!label.is_empty(), "{name}: {}", control.html());
        }
        for link in select(page, "a, button, summary") {
            let pictures = link.descendent_elements().any(|element| element.attr("alt").is_some());
            assert!(pictures || !words(link).is_empty(), "{name}: {}", link.html());
        }
    });
}

#[test]
fn ids_are_unique_and_references_lead_somewhere() {
    every_page(|name, page| {
        let mut ids = HashSet::new();
        for element in select(page, "[id]") {
            let id = element.attr("id").unwrap_or_default();
            assert!(ids.insert(id), "{name}: {id} twice");
        }
        for element in select(page, "[for], [form], [aria-describedby], [aria-labelledby]") {
            for attribute in ["for", "form", "aria-describedby", "aria-labelledby"] {
                for id in element.attr(attribute).unwrap_or_default().split_whitespace() {
                    assert!(ids.contains(id), "{name}: {attribute}={id}");
                }
            }
        }
    });
}

#[test]
fn headings_and_landmarks_are_in_order() {
    every_page(|name, page| {
        let levels: Vec<u8> = select(page, "h1, h2, h3, h4, h5, h6")
            .iter()
            .filter_map(|heading| heading.value().name().bytes().last().map(|digit| digit - b'0'))
            .collect();
        assert_eq!(levels.first(), Some(&1), "{name}");
        assert!(levels.iter().skip(1).all(|level| *level > 1), "{name}: one h1");
        assert!(levels.windows(2).all(|pair| matches!(pair, [a, b] if *b <= a + 1)), "{name}: {levels:?}");
        for landmark in ["html[lang]", "body > header", "main", "body > footer", "a.skip", "meta[name=description]"] {
            assert_eq!(select(page, landmark).len(), 1, "{name}: {landmark}");
        }
        assert!(select(page, "form form").is_empty(), "{name}");
    });
}

#[test]
fn both_kinds_of_address_lead_to_a_post() {
    let thread = page("thread");
    for no in [48211, 48219] {
        assert_eq!(select(&thread, &format!("article#p{no} .no[id='{no}']")).len(), 1);
    }
    assert!(select(&page("index"), ".no a[href='/photo/res/48211.html#48219']").len() == 1);
}

#[test]
fn forms_send_the_fields_of_the_contract() {
    let names = |page: &Html, form: &str| -> Vec<String> {
        select(page, &format!("{form} [name]"))
            .iter()
            .filter_map(|field| field.attr("name"))
            .map(str::to_owned)
            .collect()
    };
    let thread = page("thread");
    assert_eq!(
        names(&thread, "form#post"),
        ["resto", "key", "name", "sub", "com", "upfile", "spoiler", "email", "pwd"]
    );
    assert_eq!(names(&thread, "form#delete"), ["file_only", "pwd"]);
    assert_eq!(select(&thread, "form#post[action='/photo/post'][enctype='multipart/form-data'][method=post]").len(), 1);
    assert_eq!(select(&thread, "input[name=no][form=delete]").len(), select(&thread, "article").len());
    assert_eq!(select(&thread, "[name=resto][value='48211']").len(), 1);
    assert_eq!(select(&page("index"), "[name=resto][value='0']").len(), 1);
    for closed in ["thread-archived", "thread-full", "index-locked", "index-locked-empty", "catalog-locked"] {
        let page = page(closed);
        assert!(
            select(&page, "form#post, a[href$='#post']").iter().all(|found| words(*found).starts_with("Open")),
            "{closed}"
        );
        assert!(["archived", "locked", "full"].iter().any(|why| words(page.root_element()).contains(why)), "{closed}");
    }
}

#[test]
fn words_are_right() {
    let says = |name: &str, wanted: &str| {
        let all = words(page(name).root_element());
        assert!(all.contains(wanted), "{name} does not say {wanted:?}: {all}");
    };
    says("index", "21 replies and 5 pictures are not shown. Open the thread");
    says("index", "1 reply and 1 picture are not shown.");
    says("thread", "1.9 MB, 4032×2742");
    says("thread", "Up to 4 pictures, JPEG PNG GIF WebP, 8 MB each. Location data is removed.");
    says("thread", "7 of 1,000 replies, 7 pictures.");
    says("thread-nearly-full", "This thread takes 1 more reply.");
    says("thread-full", "This thread is full. It can be read, but takes no more replies.");
    says("thread-full", "7 of 7 replies, 7 pictures.");
    says("thread-long", "16 replies and 2 pictures are not shown.");
    says("thread", "File deleted");
    says("catalog", "1,064 replies");
    let badges = |name: &str| select(&page(name), ".badge").iter().map(|badge| words(*badge)).collect::<Vec<_>>();
    assert_eq!(badges("catalog"), ["Pinned", "Locked", "Full"]);
    assert_eq!(badges("thread-full"), ["Pinned", "Full"]);
    says("catalog", "1 reply 1 picture");
    says("catalog-filtered", "7 threads match “light”");
    says("catalog-nothing", "No thread matches “nothing like this”");
    says("home", "Six boards, no account.");
    says("home", "1 thread 48,225 posts 31,070 pictures");
    says("home-empty", "No pictures yet.");
    says("index-empty", "The first picture is yours.");
    says("error", "018f2f3e-7b1c-7000-8000-1c2d3e4f5a6b");
    says("traffic-empty", "What visitors send and receive is counted from now on");
    says("traffic-nobody-came", "Nobody came in this time.");
    says("traffic-gaps", "Counts are missing for app-4kzqv since 24 November, 14:14 UTC");
    says("traffic-gaps", "The JSON names 5 more.");
    says("traffic", "26 October to 24 November 2026, counted up to 14:19 UTC");
    assert!(
        select(&page("thread"), "a[href^='/media/'] .cover").len() == 1,
        "a spoiler leads to the picture and asks for no thumbnail"
    );
    assert_eq!(
        select(&page("index-far"), ".pages a").iter().map(|link| words(*link)).collect::<Vec<_>>().join(" "),
        "Previous Page 1 Page 7 Page 8 Page 9 Page 10 Page 11 Page 20 Next"
    );
}

/// The numbers that cells stand for, by column.
fn columns(rows: &[ElementRef<'_>]) -> Vec<u64> {
    let data = Selector::parse("td data").expect("a valid selector");
    let mut sums = Vec::new();
    for row in rows {
        for (at, cell) in row.select(&data).enumerate() {
            let exact = cell.attr("value").and_then(|value| value.parse().ok()).unwrap_or(u64::MAX);
            match sums.get_mut(at) {
                Some(sum) => *sum += exact,
                None => sums.push(exact),
            }
        }
    }
    sums
}

#[test]
fn tables_of_the_traffic_add_up_and_the_chart_shows_them() {
    for name in ["traffic", "traffic-today", "traffic-year", "traffic-gaps", "traffic-board"] {
        let page = page(name);
        for table in ["kinds", "boards", "replicas", "steps"] {
            let rows = select(&page, &format!("#{table} tbody tr:not(.tier)"));
            let foot = select(&page, &format!("#{table} tfoot tr"));
            assert_eq!(columns(&rows), columns(&foot), "{name}: {table}");
        }
        let bars = select(&page, ".chart .step");
        let rows = select(&page, "#steps tbody tr");
        assert_eq!(bars.len(), rows.len(), "{name}");
        let steps = match name {
            "traffic-today" => 15,
            "traffic-year" => 13,
            "traffic-board" => 7,
            _ => 30,
        };
        assert_eq!(rows.len(), steps, "{name}");
        for number in select(&page, "rect, line, circle, text, polyline, polygon, svg")
            .iter()
            .flat_map(|shape| shape.value().attrs())
        {
            assert!(
                !number.1.contains("NaN") && !number.1.contains("inf") && !number.1.starts_with("--"),
                "{name}: {number:?}"
            );
        }
    }
    assert_eq!(
        select(&page("traffic"), "#steps tfoot data")[4].attr("value"),
        select(&page("traffic"), "#kinds tfoot data")[0].attr("value")
    );
    assert_eq!(select(&page("traffic-gaps"), ".chart .gap").len(), 3);
}

#[test]
fn the_traffic_is_linked_where_it_can_be_seen() {
    assert_eq!(select(&page("home"), "footer a[href='/traffic']").len(), 1);
    assert_eq!(select(&page("home-empty"), "a[href='/traffic']").len(), 0);
    let chosen = |name: &str| {
        select(&page(name), ".views [aria-current=page]").iter().map(|link| words(*link)).collect::<Vec<_>>()
    };
    assert_eq!(chosen("traffic"), ["30 days"]);
    assert_eq!(chosen("traffic-board"), ["7 days"]);
    let board = page("traffic-board");
    for link in
        ["/photo/traffic.html?days=365", "/photo/traffic.json?days=7", "/photo/traffic.csv?days=7", "/traffic?days=7"]
    {
        assert_eq!(select(&board, &format!("a[href='{link}']")).len(), 1, "{link}");
    }
    assert!(select(&board, "#boards, #replicas, .budget, .storage").is_empty());
    assert_eq!(select(&page("traffic"), "#boards a[href='/photo/traffic.html']").len(), 1);
}

#[test]
fn numbers_read_well() {
    for (bytes, words) in [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1 KB"),
        (839_680, "820 KB"),
        (1_023_487, "999 KB"),
        (1_023_488, "1 MB"),
        (1_990_000, "1.9 MB"),
        (8 << 20, "8 MB"),
        (1_100 << 20, "1,100 MB"),
    ] {
        assert_eq!(text::size(bytes), words);
    }
    for (value, words) in [
        (0, "0 replies"),
        (1, "1 reply"),
        (999, "999 replies"),
        (1_000, "1,000 replies"),
        (-1_234_567, "-1,234,567 replies"),
    ] {
        assert_eq!(text::count(value, "reply", "replies"), words);
    }
    assert_eq!(text::count_in_words(0, "board", "boards"), "No boards");
    assert_eq!(text::count_in_words(13, "board", "boards"), "13 boards");
    for (whole, limit, short) in [
        ("", 10, ""),
        (" one\n two ", 10, "one two"),
        ("one two three", 7, "one two…"),
        ("새벽안개가정말아름답네요", 4, "새벽안개…"),
        (">>1 새벽안개가정말아름답네요", 10, ">>1 새벽안개가정…"),
    ] {
        assert_eq!(text::excerpt(whole, limit), short);
    }
}

/// The comment is the one text that is not escaped, and it is written in one place.
#[test]
fn one_template_writes_one_thing_unescaped() {
    fn files(folder: &Path, found: &mut Vec<String>) {
        for entry in folder.read_dir().expect("a readable folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                files(&entry, found);
            } else {
                found.push(std::fs::read_to_string(entry).expect("a template"));
            }
        }
    }
    let mut templates = Vec::new();
    files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")), &mut templates);
    let all = templates.concat().replace(char::is_whitespace, "");
    assert_eq!(all.matches("|safe").count(), 1);
    assert_eq!(all.matches("post.comment_html()|safe").count(), 1);
    for way_around in ["|escape", "|e(", "autoescape", "|json", "<script", "<style", "style=", "javascript:"] {
        assert!(!all.contains(way_around), "{way_around}");
    }
    let mut views = Vec::new();
    files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/views")), &mut views);
    assert!(!views.concat().contains("HtmlSafe"));
}
