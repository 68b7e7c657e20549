//! Histories that are sound, and the same ones with something planted that must be found.

use std::{sync::Arc, time::Duration};

use super::{Violation, violations};
use crate::history::{
    Cut, Deletion, Down, Excerpt, History, Listed, Moment, No, Post, Read, Rules, Shown, Stream, Told,
};

const RULES: Rules = Rules { settling: Duration::from_millis(10) };
const THREAD: No = 1;

fn at(milliseconds: u64) -> Moment {
    Duration::from_millis(milliseconds)
}

fn post(thread: Option<No>, begin: u64, acknowledged: Option<(u64, No)>) -> Post {
    let acknowledged = acknowledged.map(|(end, no)| (at(end), no));
    Post { board: "b", thread, pictured: thread.is_none(), begin: at(begin), acknowledged }
}

fn deletion(no: No, begin: u64, acknowledged: Option<u64>) -> Deletion {
    Deletion { post: no, pictures_only: false, begin: at(begin), acknowledged: acknowledged.map(at) }
}

fn excerpt(thread: No, replies: Option<usize>, posts: &[No]) -> Excerpt {
    let posts = posts.iter().map(|no| Listed { no: *no, pictured: *no == thread }).collect();
    Excerpt { thread, from: 0, replies, posts }
}

fn read_of(begin: u64, end: u64, shown: Shown) -> Read {
    Read { site: 1, path: "/b/res/1.json".into(), begin: at(begin), end: at(end), tag: None, shown: Arc::new(shown) }
}

/// A reading of the thread as a document.
fn read(begin: u64, end: u64, posts: &[No]) -> Read {
    let replies = (!posts.is_empty()).then(|| posts.len() - 1);
    read_of(begin, end, Shown { threads: vec![excerpt(THREAD, replies, posts)], whole_board: None })
}

fn listing(begin: u64, end: u64, threads: Vec<Excerpt>) -> Read {
    read_of(begin, end, Shown { threads, whole_board: Some("b") })
}

/// A thread, a reply at 20, another at 40 that is deleted at 60, a post that nobody was told about at 50.
fn history(reads: Vec<Read>) -> History {
    History {
        posts: vec![
            post(None, 0, Some((10, THREAD))),
            post(Some(THREAD), 12, Some((20, 2))),
            post(Some(THREAD), 30, Some((40, 3))),
            post(Some(THREAD), 45, None),
        ],
        deletions: vec![deletion(3, 55, Some(60))],
        reads,
        ..History::default()
    }
}

fn told(history: &History) -> Vec<String> {
    violations(history, RULES).iter().map(ToString::to_string).collect()
}

#[test]
fn what_may_be_seen_or_not_is_no_violation() {
    let sound = history(vec![
        // While the first reply is on its way.
        read(13, 15, &[1]),
        read(13, 25, &[1, 2]),
        read(21, 22, &[1, 2]),
        // While the second is deleted.
        read(54, 56, &[1, 2, 3]),
        read(56, 57, &[1, 2]),
        read(58, 61, &[1, 2, 3]),
        read(61, 62, &[1, 2]),
        // What nobody was told about: not there, seen, not there for a moment, and there for ever.
        read(70, 71, &[1, 2, 4]),
        read(72, 73, &[1, 2]),
        read(90, 91, &[1, 2, 4]),
        listing(92, 93, vec![excerpt(THREAD, Some(2), &[1, 2, 4])]),
    ]);
    assert_eq!(told(&sound), [""; 0]);
}

#[test]
fn a_read_that_lacks_what_was_acknowledged_is_stale() {
    let lost = history(vec![read(21, 22, &[1])]);
    let found = violations(&lost, RULES);
    assert!(
        matches!(&*found, [Violation::Stale { what, .. }, Violation::Miscounted { .. }] if what.starts_with("No.2")),
        "{found:?}"
    );
    // It began after the answer, by nothing but a moment.
    assert_eq!(told(&history(vec![read(20, 21, &[1])])).len(), 0, "it began when the answer ended");
    let gone = history(vec![read(21, 22, &[])]);
    assert_eq!(told(&gone).len(), 2, "a thread that was never deleted does not exist: its opening post and a reply");
    let unlisted = history(vec![listing(21, 22, vec![])]);
    assert!(matches!(&*violations(&unlisted, RULES), [Violation::Stale { what, .. }] if what.starts_with("thread 1")));
    // Seen after a request with an unknown outcome, and missing after everybody must have settled.
    let flickering = history(vec![read(70, 71, &[1, 2, 4]), read(90, 91, &[1, 2])]);
    assert!(matches!(
        &*violations(&flickering, RULES),
        [Violation::Stale { what, .. }, Violation::Miscounted { .. }] if what.starts_with("No.4")
    ));
}

#[test]
fn of_a_preview_only_what_it_covers_and_what_it_counts_is_compared() {
    let preview =
        |replies, from, posts: &[No]| listing(46, 47, vec![Excerpt { from, ..excerpt(THREAD, Some(replies), posts) }]);
    assert_eq!(told(&history(vec![preview(2, 3, &[1, 3])])), [""; 0]);
    assert_eq!(told(&history(vec![preview(3, 3, &[1, 3])])), [""; 0], "the post that nobody was told about");
    for (replies, from, posts, expected) in [
        (2, 0, &[1, 3][..], "stale: No.2"),
        (2, 2, &[1, 2][..], "stale: No.3"),
        (1, 3, &[1, 3][..], "miscounted: 1 replies of thread 1, which has 2 to 3"),
        (4, 3, &[1, 3][..], "miscounted: 4 replies of thread 1, which has 2 to 3"),
    ] {
        let found = told(&history(vec![preview(replies, from, posts)]));
        assert!(matches!(&*found, [one] if one.starts_with(expected)), "{found:?} is not {expected:?}");
    }
}

#[test]
fn a_deleted_post_that_is_shown_again_has_returned() {
    let resurrected = history(vec![read(61, 62, &[1, 2, 3])]);
    let found = violations(&resurrected, RULES);
    assert!(matches!(&*found, [Violation::Returned { what, .. }] if what.starts_with("No.3")), "{found:?}");

    // A deletion whose outcome nobody was told: seen to be done, and undone.
    let mut unknown = history(vec![read(56, 57, &[1, 2]), read(60, 61, &[1, 2, 3])]);
    unknown.deletions = vec![deletion(3, 55, None)];
    assert_eq!(told(&unknown), [""; 0], "not settled yet");
    unknown.reads.push(read(70, 71, &[1, 2, 3]));
    assert_eq!(told(&unknown).len(), 1, "{:?}", told(&unknown));

    // A whole thread.
    let mut thread = history(vec![read(81, 82, &[]), listing(83, 84, vec![])]);
    thread.deletions.push(deletion(THREAD, 70, Some(80)));
    assert_eq!(told(&thread), [""; 0]);
    thread.reads.push(read(85, 86, &[1, 2]));
    let found = violations(&thread, RULES);
    let returned = found.iter().filter(|found| matches!(found, Violation::Returned { .. }));
    assert_eq!(returned.count(), 3, "opening post, its picture, and reply: {found:?}");
}

#[test]
fn pictures_are_compared_as_posts_are() {
    let pictured = |begin: u64, pictured| {
        let posts = vec![Listed { no: THREAD, pictured }];
        let excerpt = Excerpt { thread: THREAD, from: 0, replies: None, posts };
        read_of(begin, begin + 1, Shown { threads: vec![excerpt], whole_board: None })
    };
    let history = |reads| History {
        posts: vec![post(None, 0, Some((10, THREAD)))],
        deletions: vec![Deletion { pictures_only: true, ..deletion(THREAD, 20, Some(30)) }],
        reads,
        ..History::default()
    };
    let sound = history(vec![pictured(11, true), pictured(21, true), pictured(23, false), pictured(31, false)]);
    assert_eq!(told(&sound), [""; 0]);
    let lost = told(&history(vec![pictured(11, false)]));
    assert!(matches!(&*lost, [one] if one.starts_with("stale: the picture of No.1")), "{lost:?}");
    let back = told(&history(vec![pictured(31, true)]));
    assert!(matches!(&*back, [one] if one.starts_with("returned: the picture of No.1")), "{back:?}");
}

#[test]
fn one_tag_has_one_content() {
    let tagged = |read: Read| Read { tag: Some("\"tag\"".into()), ..read };
    let same = history(vec![tagged(read(13, 14, &[1])), tagged(read(15, 16, &[1]))]);
    assert_eq!(told(&same), [""; 0]);
    let different = history(vec![tagged(read(13, 14, &[1])), tagged(read(15, 16, &[1, 2]))]);
    assert!(matches!(&*violations(&different, RULES), [Violation::Tag(_)]));
}

#[test]
fn only_a_stopped_replica_may_cut_connections() {
    let cut = |site, since, end| Cut { site, since: at(since), end: at(end), what: "GET /".to_owned() };
    let down = Down { site: 1, begin: at(10), end: at(20) };
    let history = |cut| History { cuts: vec![cut], downs: vec![down], ..History::default() };
    for excused in [cut(1, 5, 10), cut(1, 12, 13), cut(1, 20, 30)] {
        assert_eq!(told(&history(excused)), [""; 0]);
    }
    for unexcused in [cut(1, 5, 9), cut(1, 21, 22), cut(2, 12, 13)] {
        assert!(matches!(&*violations(&history(unexcused), RULES), [Violation::Cut(_)]));
    }
    let wrong = History { wrong: vec!["500".to_owned()], ..History::default() };
    assert_eq!(violations(&wrong, RULES), [Violation::Wrong("500".to_owned())]);
}

fn stream(thread: Option<No>, told: Vec<Told>) -> Stream {
    Stream { board: "b", thread, opened: Some(at(11)), closed: at(100), told, reloaded: Vec::new() }
}

fn event(milliseconds: u64, posted: &[No], deleted: &[No]) -> Told {
    let (posted, deleted) = (posted.to_vec(), deleted.to_vec());
    Told { at: at(milliseconds), thread: THREAD, posted, deleted, ..Told::default() }
}

#[test]
fn a_stream_that_leaves_out_an_event_has_lost_it() {
    let history = |stream| History { streams: vec![stream], ..history(Vec::new()) };
    let whole = vec![event(21, &[2], &[]), event(41, &[3], &[]), event(61, &[], &[3])];
    for thread in [None, Some(THREAD)] {
        assert_eq!(told(&history(stream(thread, whole.clone()))), [""; 0]);
        let lost = told(&history(stream(thread, whole.get(1..).unwrap_or_default().to_vec())));
        assert!(matches!(&*lost, [one] if one.starts_with("lost event: No.2")), "{lost:?}");
        let lost = told(&history(stream(thread, whole.get(..2).unwrap_or_default().to_vec())));
        assert!(matches!(&*lost, [one] if one.starts_with("lost event: the deletion of No.3")), "{lost:?}");
        // Made and deleted between two events.
        assert_eq!(told(&history(stream(thread, vec![event(21, &[2], &[])]))), [""; 0]);
    }
    let elsewhere = Stream { thread: Some(99), ..stream(None, Vec::new()) };
    let late = Stream { opened: Some(at(50)), ..stream(None, vec![event(61, &[], &[3])]) };
    let never = Stream { opened: None, ..stream(None, Vec::new()) };
    let reloaded = Stream { reloaded: vec![at(70)], ..stream(None, Vec::new()) };
    for silent in [elsewhere, late, never, reloaded] {
        assert_eq!(told(&history(silent)), [""; 0]);
    }
    let too_early = Stream { reloaded: vec![at(11)], ..stream(None, Vec::new()) };
    assert_eq!(told(&history(too_early)).len(), 1, "No.2 was made after the page was loaded anew");
}

#[test]
fn a_deleted_thread_is_told_to_be_gone_and_its_posts_need_not_be() {
    let gone = Told { gone: true, ..event(81, &[], &[]) };
    let history = |told: Vec<Told>| {
        let mut history = history(Vec::new());
        history.deletions.push(deletion(THREAD, 70, Some(80)));
        History { streams: vec![stream(None, told)], ..history }
    };
    assert_eq!(told(&history(vec![gone])), [""; 0]);
    let lost = told(&history(vec![event(21, &[2], &[])]));
    assert!(matches!(&*lost, [one] if one.starts_with("lost event: the deletion of No.1")), "{lost:?}");
}

#[test]
fn an_event_that_is_ahead_of_a_read_anywhere_is_as_bad_as_an_answer() {
    let ahead = |told, reads| History { streams: vec![stream(None, told)], ..history(reads) };
    let events = |posted: u64, deleted: u64| vec![event(posted, &[2, 3], &[]), event(deleted, &[], &[3])];
    // Told of the second reply at 32, of its deletion at 56, before either was answered.
    assert_eq!(told(&ahead(events(32, 56), vec![read(31, 36, &[1, 2]), read(55, 59, &[1, 2, 3])])), [""; 0]);
    let stale = told(&ahead(events(32, 56), vec![read(33, 34, &[1, 2])]));
    assert!(matches!(&*stale, [one, _] if one.starts_with("stale: No.3")), "{stale:?}");
    let returned = told(&ahead(events(32, 56), vec![read(57, 58, &[1, 2, 3])]));
    assert!(matches!(&*returned, [one] if one.starts_with("returned: No.3")), "{returned:?}");
}
