//! Something that is watched: what those who watch it were told last, and how far each of them is. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::text;
use crate::db::changes::{Published, What};
use crate::db::positions::Position;
use crate::db::versions::Scope;

/// Blocks that are kept of each topic, for streams that are a little behind.
const KEPT_BLOCKS: usize = 32;
/// Whoever has missed more changes than this loads the page anew.
pub(super) const MOST_MISSED: usize = 1000;

/// A board or a thread that somebody watches.
#[derive(Debug)]
pub(super) struct Topic {
    /// What its events call the board.
    pub(super) board: Arc<str>,
    pub(super) watchers: usize,
    /// Changes when there is something to read.
    pub(super) news: watch::Sender<()>,
    /// As far as it was told. Not known until the first who watches has found out.
    told: Option<Position>,
    /// The last blocks, and how many there were before them.
    blocks: VecDeque<Block>,
    dropped: u64,
}

/// What is told at a time.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// As far as it goes.
    pub(super) position: Position,
    pub(super) text: Bytes,
    /// Sent to every stream. Other blocks are not sent to streams that have already read further in the table.
    is_reload: bool,
    /// There is nothing left to watch.
    is_last: bool,
}

impl Topic {
    pub(super) fn new(board: &str) -> Self {
        Self {
            board: board.into(),
            watchers: 0,
            news: watch::Sender::default(),
            told: None,
            blocks: VecDeque::new(),
            dropped: 0,
        }
    }

    /// As far as all who watch were told, or can read.
    pub(super) const fn told(&self) -> Option<Position> {
        self.told
    }

    /// The number that the next block will have.
    fn end(&self) -> u64 {
        self.dropped + self.blocks.len() as u64
    }

    pub(super) fn push(&mut self, block: Block) {
        self.told = Some(block.position);
        if self.blocks.len() == KEPT_BLOCKS {
            self.blocks.pop_front();
            self.dropped += 1;
        }
        self.blocks.push_back(block);
        self.news.send_replace(());
    }

    /// Tells all who watch to load the page anew, because what every page shows has changed.
    pub(super) fn tell_to_reload(&mut self) {
        // Who is only about to begin has not loaded anything.
        if let Some(told) = self.told {
            self.push(Block { position: told, text: text::reload(told).into(), is_reload: true, is_last: false });
        }
    }

    /// Tells what has changed. `false`: something is missing in between, or history is another one.
    pub(super) fn tell(&mut self, scope: Scope, changes: &[&Published]) -> bool {
        if matches!(scope, Scope::Thread(_)) && changes.iter().any(|change| change.what == What::ThreadDeleted) {
            let told = self.told.unwrap_or_default();
            self.push(Block::gone(scope, &self.board, told));
            return true;
        }
        let mut positions = changes.iter().filter_map(|change| Position::of(change, scope));
        let Some(first) = positions.next() else { return true };
        let last = positions.next_back().unwrap_or(first);
        if let Some(told) = self.told {
            // Read from the table already.
            if last.version <= told.version && last.changed_at <= told.changed_at {
                return true;
            }
            if !first.follows(told) {
                return false;
            }
        }
        let text = text::changes(&self.board, changes, last).into();
        self.push(Block { position: last, text, is_reload: false, is_last: false });
        true
    }
}

impl Block {
    /// Says that a thread was deleted. Boards cannot be deleted; should the row of one be gone, the page has to say so.
    pub(super) fn gone(scope: Scope, board: &str, seen: Position) -> Self {
        let text = match scope {
            Scope::Thread(thread) => text::gone(board, thread),
            Scope::Board(_) | Scope::Site => text::reload(seen),
        };
        Self { position: seen, text: text.into(), is_reload: true, is_last: true }
    }

    /// What happened between two positions, if the rows are all that there is of it, and of the same history.
    pub(super) fn missed(scope: Scope, board: &str, seen: Position, now: Position, rows: &[Published]) -> Self {
        let placed: Vec<(Position, &Published)> =
            rows.iter().filter_map(|row| Some((Position::of(row, scope)?, row))).collect();
        let same_history = placed.iter().all(|(at, _)| at.version != seen.version || *at == seen);
        let newer = placed.iter().filter(|(at, _)| at.version > seen.version);
        let mut last = seen;
        let has_no_gaps = newer.clone().all(|(at, _)| {
            let goes_on = *at == last || at.follows(last);
            last = *at;
            goes_on
        });
        // Of a version that says many things, the last row that was read need not be the last there is.
        let is_complete = has_no_gaps && last == now && rows.len() <= MOST_MISSED;
        if same_history && is_complete {
            let newer: Vec<&Published> = newer.map(|(_, row)| *row).collect();
            let text = text::changes(board, &newer, now).into();
            return Self { position: now, text, is_reload: false, is_last: false };
        }
        Self { position: now, text: text::reload(now).into(), is_reload: true, is_last: false }
    }
}

/// How far one stream has read.
#[derive(Debug)]
pub(super) struct Reader {
    seen: Position,
    /// The number of the next block of the topic.
    next: u64,
    /// There is something after `seen` that the blocks from `next` on do not tell.
    behind: bool,
    ended: bool,
}

/// What a stream does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Sends this.
    Send(Bytes),
    /// Waits for news.
    Wait,
    /// Reads from the table what it has missed.
    CatchUp,
    /// Ends.
    End,
}

impl Reader {
    /// Gets every block from now on. It has to begin somewhere before it reads any.
    pub(super) fn of(topic: &Topic) -> Self {
        Self { seen: Position::default(), next: topic.end(), behind: true, ended: false }
    }

    /// Begins at the position that the topic had when the table was read, or at an earlier one.
    pub(super) fn begin(&mut self, topic: &mut Topic, now: Position, after: Option<Position>) {
        let told = *topic.told.get_or_insert(now);
        self.seen = after.unwrap_or(now);
        // Another one that began to watch at the same time has read a little later, and from there on it is told.
        let told_later = told.version >= now.version && told != now;
        self.behind = self.seen != now || told_later;
    }

    /// As far as the stream has sent.
    pub(super) const fn seen(&self) -> Position {
        self.seen
    }

    /// The blocks that have not been read yet.
    pub(super) fn read(&mut self, topic: &Topic) -> Step {
        if self.next < topic.dropped {
            self.behind = true;
            self.next = topic.end();
        }
        if self.ended {
            return Step::End;
        }
        if self.behind {
            return Step::CatchUp;
        }
        let known = usize::try_from(self.next - topic.dropped).unwrap_or(usize::MAX);
        self.next = topic.end();
        let mut text = Vec::new();
        for block in topic.blocks.iter().skip(known) {
            if block.is_reload || block.position.version > self.seen.version {
                text.extend_from_slice(&block.text);
                self.seen = block.position;
                self.ended |= block.is_last;
            }
        }
        if text.is_empty() { Step::Wait } else { Step::Send(text.into()) }
    }

    /// What was missed is read, and sent with this block, if it was anything.
    pub(super) fn caught_up(&mut self, block: Option<&Block>) {
        self.behind = false;
        if let Some(block) = block {
            self.seen = block.position;
            self.ended = block.is_last;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::{BoardId, PostNo};

    const THREAD: PostNo = PostNo(10);
    const SCOPE: Scope = Scope::Thread(THREAD);

    /// Versions are made a second apart.
    fn at(version: i64) -> Position {
        Position { version, changed_at: version * 1_000_000 }
    }

    fn posted(version: i64) -> Published {
        Published {
            what: What::Posted,
            changed_at: DateTime::from_timestamp_micros(at(version).changed_at).unwrap(),
            board: Some(BoardId(1)),
            board_version: Some(1000 + version),
            thread: Some(THREAD),
            thread_version: Some(version),
            post: Some(PostNo(100 + i32::try_from(version).unwrap())),
        }
    }

    /// The same version as in another history.
    fn other(change: &Published) -> Published {
        Published { changed_at: change.changed_at + chrono::TimeDelta::microseconds(1), ..change.clone() }
    }

    fn rows(versions: std::ops::RangeInclusive<i64>) -> Vec<Published> {
        versions.map(posted).collect()
    }

    fn missed(seen: Position, now: Position, rows: &[Published]) -> String {
        let block = Block::missed(SCOPE, "b", seen, now, rows);
        assert_eq!(block.position, now);
        text_of(&block.text)
    }

    fn text_of(text: &Bytes) -> String {
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn reload(position: Position) -> String {
        text::reload(position)
    }

    /// What a topic says about these versions.
    fn said(versions: std::ops::RangeInclusive<i64>) -> String {
        let changes = rows(versions);
        text::changes("b", &changes.iter().collect::<Vec<_>>(), Position::of(changes.last().unwrap(), SCOPE).unwrap())
    }

    #[test]
    fn what_was_missed_is_told_when_all_of_it_is_there() {
        assert_eq!(missed(at(5), at(8), &rows(5..=8)), said(6..=8));
        // The row of the position itself may be pruned already.
        assert_eq!(missed(at(5), at(8), &rows(6..=8)), said(6..=8));
        // One transaction, several rows.
        let mut same_version = rows(5..=6);
        same_version.push(Published { what: What::Deleted, post: Some(PostNo(50)), ..posted(6) });
        let told = missed(at(5), at(6), &same_version);
        assert_eq!(told.matches("data:").count(), 1);
        assert!(told.contains("\"posted\":[106],\"deleted\":[50]"), "{told}");
    }

    #[test]
    fn a_client_loads_anew_when_something_of_it_is_missing() {
        for (why, rows) in [
            ("rows in the middle", [rows(5..=6), rows(8..=8)].concat()),
            ("rows at the beginning were pruned", rows(7..=8)),
            ("all of them were", Vec::new()),
            ("rows at the end", rows(5..=7)),
        ] {
            assert_eq!(missed(at(5), at(8), &rows), reload(at(8)), "{why}");
        }
    }

    #[test]
    fn more_than_a_stream_tells_is_told_as_reload_even_when_the_last_version_is_reached() {
        let mut many = rows(5..=5);
        many.extend(std::iter::repeat_n(posted(6), MOST_MISSED - 1));
        assert_ne!(missed(at(5), at(6), &many), reload(at(6)));
        many.push(posted(6));
        assert_eq!(missed(at(5), at(6), &many), reload(at(6)));
    }

    #[test]
    fn a_client_loads_anew_when_history_is_another_one() {
        // The database was restored to an earlier version, and has got as far again or not.
        assert_eq!(missed(at(8), at(6), &[]), reload(at(6)));
        let now = Position { changed_at: at(8).changed_at + 1, ..at(8) };
        assert_eq!(missed(at(8), now, &[other(&posted(8))]), reload(now));
        assert_eq!(missed(at(8), at(9), &[other(&posted(8)), posted(9)]), reload(at(9)));
        // Time went backwards, so nobody knows.
        let early = Published { changed_at: posted(7).changed_at, ..posted(9) };
        let now = Position::of(&early, SCOPE).unwrap();
        assert_eq!(missed(at(8), now, &[posted(8), early]), reload(now));
    }

    #[test]
    fn a_change_that_nobody_published_is_told_as_reload() {
        let unknown = Published { what: What::Unknown, post: None, ..posted(7) };
        let told = missed(at(5), at(8), &[posted(5), posted(6), unknown, posted(8)]);
        assert!(told.ends_with(&reload(at(8))), "{told}");
        assert_eq!(told.matches("id:").count(), 1, "{told}");
    }

    /// A topic with somebody who watches it since this version.
    fn watched(version: i64) -> (Topic, Reader) {
        let mut topic = Topic::new("b");
        let mut reader = Reader::of(&topic);
        reader.begin(&mut topic, at(version), None);
        (topic, reader)
    }

    fn tell(topic: &mut Topic, versions: std::ops::RangeInclusive<i64>) -> bool {
        let changes = rows(versions);
        topic.tell(SCOPE, &changes.iter().collect::<Vec<_>>())
    }

    fn sent(reader: &mut Reader, topic: &Topic) -> String {
        match reader.read(topic) {
            Step::Send(text) => text_of(&text),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn every_tick_is_told_once_and_only_if_it_goes_on_from_the_one_before() {
        let (mut topic, mut reader) = watched(5);
        assert!(tell(&mut topic, 6..=6));
        assert!(tell(&mut topic, 7..=9));
        assert_eq!(sent(&mut reader, &topic), [said(6..=6), said(7..=9)].concat());
        assert_eq!(reader.read(&topic), Step::Wait);
        assert!(tell(&mut topic, 8..=9), "told already");
        assert!(!tell(&mut topic, 11..=11), "10 is missing");
        assert!(!tell(&mut topic, 9..=10), "a part of it is told already");
        assert_eq!(reader.read(&topic), Step::Wait);
        assert_eq!(topic.told(), Some(at(9)));
    }

    #[test]
    fn versions_that_come_back_after_a_restore_are_not_taken_for_told() {
        let (mut topic, mut reader) = watched(5);
        let restored = other(&posted(5));
        assert!(!topic.tell(SCOPE, &[&restored]));
        let now = Position::of(&restored, SCOPE).unwrap();
        topic.push(Block::missed(SCOPE, "b", at(5), now, std::slice::from_ref(&restored)));
        assert_eq!(sent(&mut reader, &topic), reload(now));
        assert_eq!(reader.seen(), now);
        assert!(tell(&mut topic, 6..=6));
        assert_eq!(sent(&mut reader, &topic), said(6..=6));
    }

    #[test]
    fn who_has_read_further_in_the_table_is_not_told_it_again() {
        let (mut topic, mut early) = watched(5);
        let mut late = Reader::of(&topic);
        late.begin(&mut topic, at(7), None);
        for version in 6..=8 {
            assert!(tell(&mut topic, version..=version));
        }
        assert_eq!(sent(&mut late, &topic), said(8..=8));
        assert_eq!(sent(&mut early, &topic), [said(6..=6), said(7..=7), said(8..=8)].concat());
    }

    #[test]
    fn of_two_who_begin_at_once_the_one_who_has_read_earlier_reads_again() {
        let mut topic = Topic::new("b");
        let [mut early, mut late] = [(); 2].map(|()| Reader::of(&topic));
        late.begin(&mut topic, at(7), None);
        early.begin(&mut topic, at(5), None);
        // 6 and 7 are told to nobody.
        assert!(tell(&mut topic, 6..=7));
        assert_eq!(late.read(&topic), Step::Wait);
        assert_eq!(early.read(&topic), Step::CatchUp);
    }

    #[test]
    fn who_comes_back_reads_the_table_first_and_again_if_that_is_given_up() {
        let mut topic = Topic::new("b");
        let mut reader = Reader::of(&topic);
        reader.begin(&mut topic, at(7), Some(at(3)));
        for _ in 0..2 {
            assert_eq!(reader.read(&topic), Step::CatchUp);
        }
        // Told while the table is read, which has it too.
        assert!(tell(&mut topic, 8..=8));
        reader.caught_up(Some(&Block::missed(SCOPE, "b", at(3), at(8), &rows(4..=8))));
        assert_eq!(reader.read(&topic), Step::Wait);
        assert!(tell(&mut topic, 9..=9));
        assert_eq!(sent(&mut reader, &topic), said(9..=9));
    }

    #[test]
    fn a_stream_that_lags_too_far_behind_reads_the_table() {
        let (mut topic, mut reader) = watched(0);
        let mut slow = Reader::of(&topic);
        slow.begin(&mut topic, at(0), None);
        let kept = i64::try_from(KEPT_BLOCKS).unwrap();
        for version in 1..=kept {
            assert!(tell(&mut topic, version..=version));
        }
        assert_eq!(sent(&mut reader, &topic).matches("data:").count(), KEPT_BLOCKS);
        assert!(tell(&mut topic, kept + 1..=kept + 1));
        assert_eq!(slow.read(&topic), Step::CatchUp);
        slow.caught_up(Some(&Block::missed(SCOPE, "b", at(0), at(kept + 1), &rows(1..=kept + 1))));
        assert_eq!(slow.read(&topic), Step::Wait);
        assert_eq!(sent(&mut reader, &topic), said(kept + 1..=kept + 1));
    }

    #[test]
    fn a_stream_ends_with_its_thread() {
        let (mut topic, mut reader) = watched(5);
        let deleted = Published { what: What::ThreadDeleted, thread_version: None, post: None, ..posted(6) };
        assert!(topic.tell(SCOPE, &[&deleted]));
        assert_eq!(sent(&mut reader, &topic), "data: {\"board\":\"b\",\"thread\":10,\"gone\":true}\n\n");
        assert_eq!(reader.read(&topic), Step::End);
    }
}
