//! Orders the queues for each claim.
//!
//! A claim empties the first queue, as far as there is room, before it looks at the next. With more
//! work than slots, only the first queue is served. Whether a queue starves is therefore a question
//! of how often it comes first.

use crate::broker::options::QueueOrder;

/// In the orders by name and as listed, one claim in this many begins with one of the other
/// queues, each in its turn. A queue that is never empty then slows the others down but does not
/// stop them.
const FAIR_TURN: usize = 10;

/// The orders of the queues for successive turns, repeated without end.
#[derive(Debug)]
pub(crate) struct Turns {
    /// All queues, as places in the given list.
    base: Vec<usize>,
    /// The first queue of each turn, as places in `base`.
    firsts: Vec<usize>,
    /// `true` if the others follow in a ring; `false` if they follow in the order of `base`.
    ring: bool,
}

impl Turns {
    pub(crate) fn new(queues: &[impl AsRef<str>], order: &QueueOrder) -> Self {
        let mut base: Vec<usize> = (0..queues.len()).collect();
        let name = |queue: usize| queues[queue].as_ref();
        let firsts = match order {
            QueueOrder::RoundRobin => base.clone(),
            QueueOrder::Sorted => {
                base.sort_by_key(|queue| name(*queue));
                mostly_first(queues.len())
            }
            QueueOrder::Priority => mostly_first(queues.len()),
            QueueOrder::Weighted(weights) => {
                let weight = |queue: &usize| weights.get(name(*queue)).copied().unwrap_or(1);
                weighted(&base.iter().map(weight).collect::<Vec<_>>())
            }
        };
        Turns {
            base,
            firsts,
            ring: matches!(order, QueueOrder::RoundRobin | QueueOrder::Weighted(_)),
        }
    }

    /// Returns the queues in the order of this turn.
    pub(crate) fn order(&self, turn: usize) -> impl Iterator<Item = usize> + Clone {
        let n = self.base.len();
        let first = match self.firsts.len() {
            0 => 0,
            turns => self.firsts[turn % turns],
        };
        (0..n).map(move |i| {
            self.base[match i {
                0 => first,
                _ if self.ring => (first + i) % n,
                // The others come in the order of `base`, without the queue that came first.
                _ if i <= first => i - 1,
                _ => i,
            }]
        })
    }
}

fn mostly_first(queues: usize) -> Vec<usize> {
    let mut firsts = vec![0];
    for other in 1..queues {
        firsts.resize(other * FAIR_TURN - 1, 0);
        firsts.push(other);
    }
    firsts
}

/// Returns the first queue of each turn, spread as evenly as possible: the queue that is owed most
/// goes first.
fn weighted(weights: &[u32]) -> Vec<usize> {
    let total: i64 = weights.iter().copied().map(i64::from).sum();
    let mut owed = vec![0_i64; weights.len()];
    let mut firsts = Vec::new();
    for _ in 0..total {
        for (owed, weight) in owed.iter_mut().zip(weights) {
            *owed += i64::from(*weight);
        }
        // If several queues are owed equally, the one that is listed first goes first.
        let most = owed.iter().enumerate().rev().max_by_key(|(_, owed)| **owed);
        if let Some((queue, _)) = most {
            owed[queue] -= total;
            firsts.push(queue);
        }
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(queues: &[&'static str], order: &QueueOrder, count: usize) -> Vec<String> {
        let turns = Turns::new(queues, order);
        (0..count)
            .map(|turn| turns.order(turn).map(|queue| queues[queue]).collect())
            .collect()
    }

    #[test]
    fn round_robin_lets_each_queue_be_first_in_turn() {
        let all = turns(&["a", "b", "c"], &QueueOrder::RoundRobin, 4);
        assert_eq!(all, ["abc", "bca", "cab", "abc"]);
        assert_eq!(turns(&["a"], &QueueOrder::RoundRobin, 2), ["a", "a"]);
        assert_eq!(turns(&[], &QueueOrder::Priority, 1), [""]);
    }

    #[test]
    fn the_listed_order_lets_another_queue_be_first_one_turn_in_ten() {
        let all = turns(&["c", "a", "b"], &QueueOrder::Priority, 40);
        let others: Vec<(usize, &str)> = all
            .iter()
            .enumerate()
            .filter(|(_, order)| *order != "cab")
            .map(|(turn, order)| (turn, order.as_str()))
            .collect();
        assert_eq!(others, [(9, "acb"), (19, "bca"), (29, "acb"), (39, "bca")]);
    }

    #[test]
    fn the_order_by_name_is_the_listed_order_of_sorted_names() {
        let all = turns(&["c", "a", "b"], &QueueOrder::Sorted, 10);
        assert_eq!((&*all[0], &*all[8], &*all[9]), ("abc", "abc", "bac"));
    }

    #[test]
    fn weights_are_shares_of_the_first_places() {
        let weights = [("a".to_owned(), 3), ("c".to_owned(), 2)].into();
        let all = turns(&["a", "b", "c"], &QueueOrder::Weighted(weights), 12);
        let firsts: String = all.iter().map(|order| &order[..1]).collect();
        assert_eq!(firsts, "acabcaacabca");
    }
}
