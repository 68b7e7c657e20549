//! What streams say, as server-sent events (HTML standard, section 9.2).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::db::changes::{Published, What};
use crate::db::positions::Position;
use crate::domain::PostNo;

/// What has happened to one thread.
#[derive(Debug, Serialize)]
struct Event<'a> {
    board: &'a str,
    thread: PostNo,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    posted: Vec<PostNo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<PostNo>,
    /// Posts whose pictures were deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<PostNo>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    archived: bool,
    /// The whole thread was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

impl<'a> Event<'a> {
    fn of(board: &'a str, thread: PostNo) -> Self {
        Self {
            board,
            thread,
            posted: Vec::new(),
            deleted: Vec::new(),
            changed: Vec::new(),
            archived: false,
            gone: false,
        }
    }

    fn add(&mut self, change: &Published) {
        match change.what {
            What::Posted => self.posted.extend(change.post),
            What::Deleted => {
                self.posted.retain(|no| Some(*no) != change.post);
                self.changed.retain(|no| Some(*no) != change.post);
                self.deleted.extend(change.post);
            }
            What::PicturesDeleted => self.changed.extend(change.post),
            What::Archived => self.archived = true,
            What::ThreadDeleted => self.gone = true,
            What::Boards | What::Fingerprint | What::Unknown => {}
        }
    }

    fn text(&self) -> String {
        // Numbers and one short name always have a form in JSON.
        format!("data: {}\n\n", serde_json::to_string(self).unwrap_or_default())
    }
}

/// One event for each thread. The position stands behind the last one: who has seen some of them only comes back to all.
pub(super) fn changes(board: &str, changes: &[&Published], position: Position) -> String {
    let mut events: BTreeMap<PostNo, Event<'_>> = BTreeMap::new();
    let mut is_known = true;
    for change in changes {
        match change.thread.filter(|_| change.what != What::Unknown) {
            Some(thread) => events.entry(thread).or_insert_with(|| Event::of(board, thread)).add(change),
            None => is_known = false,
        }
    }
    let mut text = String::new();
    let last = events.len().saturating_sub(1);
    for (place, event) in events.values().enumerate() {
        if place == last && is_known {
            let _ = writeln!(text, "id: {position}");
        }
        text.push_str(&event.text());
    }
    if !is_known {
        text.push_str(&reload(position));
    }
    text
}

/// Says that a thread was deleted.
pub(super) fn gone(board: &str, thread: PostNo) -> String {
    Event { gone: true, ..Event::of(board, thread) }.text()
}

/// Tells a client to load the page anew, because it is not known what has changed.
pub(super) fn reload(position: Position) -> String {
    format!("event: reload\nid: {position}\ndata: {{}}\n\n")
}

/// Nothing to act on, but whoever comes back says how far it had got.
pub(super) fn position(position: Position) -> String {
    format!("id: {position}\n\n")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::BoardId;

    const AT: Position = Position { version: 7, changed_at: 0x1234 };

    fn change(what: What, thread: i32, post: Option<i32>) -> Published {
        Published {
            what,
            changed_at: DateTime::UNIX_EPOCH,
            board: Some(BoardId(1)),
            board_version: Some(7),
            thread: Some(PostNo(thread)),
            thread_version: Some(3),
            post: post.map(PostNo),
        }
    }

    fn text(told: &[Published]) -> String {
        changes("b", &told.iter().collect::<Vec<_>>(), AT)
    }

    #[test]
    fn there_is_one_event_a_thread_and_the_last_one_has_the_position() {
        let told = [
            change(What::Posted, 30, Some(30)),
            change(What::Posted, 10, Some(31)),
            change(What::PicturesDeleted, 10, Some(12)),
            change(What::Archived, 20, None),
            change(What::Posted, 10, Some(32)),
            change(What::Deleted, 10, Some(11)),
        ];
        assert_eq!(
            text(&told),
            "data: {\"board\":\"b\",\"thread\":10,\"posted\":[31,32],\"deleted\":[11],\"changed\":[12]}\n\n\
             data: {\"board\":\"b\",\"thread\":20,\"archived\":true}\n\n\
             id: 7.1234\ndata: {\"board\":\"b\",\"thread\":30,\"posted\":[30]}\n\n"
        );
    }

    #[test]
    fn a_post_that_is_deleted_again_is_told_as_deleted_only() {
        let told = [
            change(What::Posted, 10, Some(11)),
            change(What::PicturesDeleted, 10, Some(11)),
            change(What::Deleted, 10, Some(11)),
        ];
        assert_eq!(text(&told), "id: 7.1234\ndata: {\"board\":\"b\",\"thread\":10,\"deleted\":[11]}\n\n");
    }

    #[test]
    fn what_is_not_known_makes_clients_load_anew_and_the_rest_is_told_all_the_same() {
        let nowhere = Published { thread: None, ..change(What::Unknown, 1, None) };
        for unknown in [nowhere, change(What::Unknown, 10, None)] {
            assert_eq!(
                text(&[change(What::ThreadDeleted, 20, None), unknown]),
                "data: {\"board\":\"b\",\"thread\":20,\"gone\":true}\n\n\
                 event: reload\nid: 7.1234\ndata: {}\n\n"
            );
        }
    }
}
