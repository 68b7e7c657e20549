//! What is known of every post when the whole history is: from when on it has to be shown, and from when on it must not
//! be shown any more.

use std::collections::BTreeMap;

use super::{History, Moment, No, Read, Rules};

/// From when on something has to be shown, and until when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Existence {
    /// Whoever asks later is shown it.
    pub(super) required_from: Option<Moment>,
    /// Whoever is still being answered then may be told that it is gone.
    pub(super) deletion_begun: Option<Moment>,
    /// Whoever asks later is not shown it.
    pub(super) gone_from: Option<Moment>,
}

impl Existence {
    /// Whether a read has to show it.
    pub(super) fn is_required(&self, read: &Read) -> bool {
        self.required_from.is_some_and(|from| from < read.begin)
            && self.deletion_begun.is_none_or(|begun| begun > read.end)
    }

    /// Whether a read must not show it.
    pub(super) fn is_gone(&self, read: &Read) -> bool {
        self.gone_from.is_some_and(|from| from < read.begin)
    }

    fn require(&mut self, from: Moment) {
        earlier(&mut self.required_from, from);
    }

    fn go(&mut self, disappeared: impl Fn(&Self) -> bool, gone: Moment) {
        if disappeared(self) {
            earlier(&mut self.gone_from, gone);
        }
    }

    fn delete(&mut self, begun: Moment, gone: Option<Moment>) {
        earlier(&mut self.deletion_begun, begun);
        if let Some(gone) = gone {
            earlier(&mut self.gone_from, gone);
        }
    }
}

fn earlier(moment: &mut Option<Moment>, other: Moment) {
    *moment = Some(moment.map_or(other, |moment| moment.min(other)));
}

/// A post that exists or existed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) no: No,
    pub(super) post: Existence,
    /// Required only if its post is known to have one.
    pub(super) picture: Existence,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// By thread, then by number.
    threads: BTreeMap<No, BTreeMap<No, Known>>,
    /// By number, for those whose number was told.
    thread_of: BTreeMap<No, No>,
    /// Replies that were sent to a thread, whether or not they came to be: when, and the number if it was told.
    sent: BTreeMap<No, Vec<(Moment, Option<No>)>>,
    boards: BTreeMap<&'static str, Vec<No>>,
}

impl Knowledge {
    pub(super) fn of(history: &History, rules: Rules) -> Self {
        let mut knowledge = Self::default();
        knowledge.learn_posts(history);
        knowledge.learn_sightings(history, rules);
        knowledge.learn_events(history);
        knowledge.learn_deletions(history);
        knowledge.learn_disappearances(history, rules);
        knowledge
    }

    /// The posts of a thread.
    pub(super) fn posts(&self, thread: No) -> impl Iterator<Item = &Known> {
        self.threads.get(&thread).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn post(&self, thread: No, no: No) -> Option<&Known> {
        self.threads.get(&thread)?.get(&no)
    }

    /// The thread of a post whose number was told or seen.
    pub(super) fn thread_of(&self, no: No) -> Option<No> {
        self.thread_of.get(&no).copied()
    }

    /// The threads of a board that were acknowledged.
    pub(super) fn threads(&self, board: &str) -> &[No] {
        self.boards.get(board).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many replies of a thread a read has to count, and how many it may count at the most.
    pub(super) fn replies(&self, thread: No, read: &Read) -> (usize, usize) {
        let required = self.posts(thread).filter(|known| known.no != thread && known.post.is_required(read)).count();
        let sent = self.sent.get(&thread).map(Vec::as_slice).unwrap_or_default();
        let possible = sent.iter().filter(|(begin, no)| {
            let gone = no.and_then(|no| self.post(thread, no)).is_some_and(|known| known.post.is_gone(read));
            *begin < read.end && !gone
        });
        (required, possible.count())
    }

    fn known(&mut self, thread: No, no: No) -> &mut Known {
        self.thread_of.insert(no, thread);
        let posts = self.threads.entry(thread).or_default();
        posts.entry(no).or_insert(Known { no, post: Existence::default(), picture: Existence::default() })
    }

    fn learn_posts(&mut self, history: &History) {
        for post in &history.posts {
            if let Some(thread) = post.thread {
                let no = post.acknowledged.map(|(_, no)| no);
                self.sent.entry(thread).or_default().push((post.begin, no));
            }
            let Some((end, no)) = post.acknowledged else { continue };
            let known = self.known(post.thread.unwrap_or(no), no);
            known.post.require(end);
            if post.pictured {
                known.picture.require(end);
            }
            if post.thread.is_none() {
                self.boards.entry(post.board).or_default().push(no);
            }
        }
    }

    fn learn_sightings(&mut self, history: &History, rules: Rules) {
        for read in &history.reads {
            for excerpt in &read.shown.threads {
                for listed in &excerpt.posts {
                    self.known(excerpt.thread, listed.no).post.require(read.end + rules.settling);
                }
            }
        }
    }

    fn learn_events(&mut self, history: &History) {
        let told = || history.streams.iter().flat_map(|stream| &stream.told);
        for told in told() {
            for no in &told.posted {
                self.known(told.thread, *no).post.require(told.at);
            }
        }
        for told in told() {
            for no in &told.deleted {
                self.known(told.thread, *no).post.delete(told.at, Some(told.at));
            }
            for no in &told.changed {
                self.known(told.thread, *no).picture.delete(told.at, Some(told.at));
            }
            if told.gone {
                self.delete_thread(told.thread, told.at, Some(told.at));
            }
        }
    }

    fn learn_deletions(&mut self, history: &History) {
        for deletion in &history.deletions {
            let Some(thread) = self.thread_of(deletion.post) else { continue };
            let (begun, gone) = (deletion.begin, deletion.acknowledged);
            if deletion.post == thread && !deletion.pictures_only {
                self.delete_thread(thread, begun, gone);
                continue;
            }
            let known = self.known(thread, deletion.post);
            known.picture.delete(begun, gone);
            if !deletion.pictures_only {
                known.post.delete(begun, gone);
            }
        }
    }

    /// Its posts are those that were ever known: whoever answers it later is refused.
    fn delete_thread(&mut self, thread: No, begun: Moment, gone: Option<Moment>) {
        for known in self.threads.entry(thread).or_default().values_mut() {
            known.post.delete(begun, gone);
            known.picture.delete(begun, gone);
        }
    }

    /// A deletion with an unknown outcome that a read has shown to be done.
    fn learn_disappearances(&mut self, history: &History, rules: Rules) {
        for read in &history.reads {
            let gone = read.end + rules.settling;
            let disappeared = |existence: &Existence| {
                existence.deletion_begun.is_some_and(|begun| begun <= read.end)
                    && existence.required_from.is_some_and(|from| from < read.begin)
            };
            for excerpt in &read.shown.threads {
                for known in self.threads.entry(excerpt.thread).or_default().values_mut() {
                    if !disappeared(&known.post) && !disappeared(&known.picture) {
                        continue;
                    }
                    match excerpt.find(known.no) {
                        None if known.no >= excerpt.from => known.post.go(disappeared, gone),
                        Some(listed) if !listed.pictured => known.picture.go(disappeared, gone),
                        _ => {}
                    }
                }
            }
        }
    }
}
