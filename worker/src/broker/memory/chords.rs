//! The chords of a server in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::value::to_raw_value;

use crate::broker::settlement::{Complete, Join, Part};

/// The chords that are not forgotten, by their group.
#[derive(Debug, Default)]
pub(super) struct Chords(HashMap<String, Chord>);

#[derive(Debug, Default)]
struct Chord {
    /// `None` until the chord has begun: members may end before that.
    size: Option<usize>,
    saved: Option<Vec<u8>>,
    /// The members that were counted, in the order of the header. A member without a place comes
    /// last.
    members: BTreeMap<(i64, String), Vec<u8>>,
    /// The runs that added members, and how many these are together.
    growth: (HashSet<String>, usize),
    /// The word of the member that publishes the body.
    claim: Option<String>,
}

impl Chords {
    pub(super) fn begin(&mut self, group: &str, size: usize, saved: Option<Vec<u8>>) {
        let chord = self.0.entry(group.to_owned()).or_default();
        chord.size = Some(size);
        chord.saved = saved;
        chord.claim = None;
    }

    /// Returns how many chords have begun.
    pub(super) fn open(&self) -> usize {
        let begun = self.0.values().filter(|chord| chord.size.is_some());
        begun.count()
    }

    /// Counts a member once, after the members that it adds. Returns the chord if it is complete and this member has claimed it.
    pub(super) fn count(&mut self, part: &Part) -> Option<Complete> {
        let chord = self.0.entry(part.group.clone()).or_default();
        if part.added > 0 && chord.growth.0.insert(part.run()) {
            chord.growth.1 += part.added;
        }
        if !part.has_ended {
            return None;
        }
        let place = (part.index.unwrap_or(i64::MAX), part.id.clone());
        chord.members.entry(place).or_insert_with(|| {
            let member = (1, &part.id, part.state.as_str(), &part.result);
            let member = to_raw_value(&member);
            member.map_or_else(|_| b"null".to_vec(), |it| it.get().as_bytes().to_vec())
        });
        let word = part.word();
        let whole = chord.size.map(|size| size + chord.growth.1);
        let is_complete = whole == Some(chord.members.len());
        (is_complete && *chord.claim.get_or_insert_with(|| word.clone()) == word).then(|| {
            Complete {
                saved: chord.saved.clone(),
                members: chord.members.values().cloned().collect(),
            }
        })
    }

    /// Forgets a chord. Returns `false` if another member has claimed its body.
    pub(super) fn end(&mut self, join: &Join) -> bool {
        let claim = self.0.get(&join.group).and_then(|it| it.claim.as_ref());
        let is_ours = claim.is_some_and(|claim| *claim == join.word);
        if is_ours {
            self.0.remove(&join.group);
        }
        is_ours
    }
}
