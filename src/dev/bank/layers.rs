//! Who gets which behaviour now: what the bank was started with, and the changes said since, each for
//! orders whose key begins in a certain way and some for a while only. Pure; time is handed in.

use serde::Serialize;

use super::BankOptions;
use super::change::Change;
use crate::domain::order::Millis;

/// The most changes that stand at the same time; every question looks through them.
const LAYERS_MAX: usize = 256;

/// All behaviour of a bank.
#[derive(Debug)]
pub(super) struct Layers {
    started_with: BankOptions,
    /// From the general to the particular: the whole bank's first, longer beginnings later, and of the
    /// same beginning the one with an end last.
    said: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    change: Change,
    until: Option<Millis>,
}

/// Whether fields that a change leaves out stay as they were said before of the same orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// `PATCH`.
    Kept,
    /// `PUT`.
    Forgotten,
}

impl Layers {
    pub(super) fn new(started_with: &BankOptions) -> Self {
        Self {
            started_with: *started_with,
            said: Vec::new(),
        }
    }

    /// Takes a change over. One with an end stands beside the one without, and ends from now on.
    pub(super) fn change(&mut self, change: Change, left: Left, now: Millis) -> Result<(), String> {
        self.said.retain(|layer| layer.stands(now));
        let until = change.lasts.map(|lasts| now + lasts.as_millis() as Millis);
        let place = |layer: &Layer| (layer.change.orders.len(), layer.until.is_some());
        let new = Layer { change, until };
        let mut all = self.said.iter();
        let same = all.position(|layer| {
            layer.change.orders == new.change.orders && place(layer) == place(&new)
        });
        match same {
            Some(at) if left == Left::Kept => {
                self.said[at].until = until;
                self.said[at].change.merge(&new.change);
            }
            Some(at) => self.said[at] = new,
            None if self.said.len() >= LAYERS_MAX => {
                return Err(format!("{LAYERS_MAX} changes stand already"));
            }
            None => {
                let at = self
                    .said
                    .partition_point(|layer| place(layer) <= place(&new));
                self.said.insert(at, new);
            }
        }
        Ok(())
    }

    /// How an order is treated now. The bank's own limit is in every order's behaviour.
    pub(super) fn of(&self, order_type: &str, req_no: &str, now: Millis) -> BankOptions {
        let mut options = self.started_with;
        for layer in &self.said {
            if layer.stands(now) && begins_with(order_type, req_no, &layer.change.orders) {
                layer.change.apply(&mut options);
            }
        }
        options
    }

    /// What the bank was started with and what was said since, in the order in which it is applied.
    pub(super) fn told(&self, now: Millis) -> impl Serialize + use<> {
        let said = self.said.iter().filter(|layer| layer.stands(now));
        let left = |until: Millis| std::time::Duration::from_millis(until - now);
        let mut told = vec![Change::of(&self.started_with)];
        told.extend(said.map(|layer| Change {
            lasts: layer.until.map(left),
            ..layer.change.clone()
        }));
        told
    }
}

impl Layer {
    fn stands(&self, now: Millis) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Whether `<type>/<reqNO>` begins with `beginning`.
fn begins_with(order_type: &str, req_no: &str, beginning: &str) -> bool {
    match beginning.strip_prefix(order_type) {
        None => order_type.starts_with(beginning),
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('/')
            .is_some_and(|rest| req_no.starts_with(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(changes: &[(&str, Left, Millis)]) -> Layers {
        let mut layers = Layers::new(&BankOptions::default());
        for (json, left, now) in changes {
            layers.change(json.parse().unwrap(), *left, *now).unwrap();
        }
        layers
    }

    fn in_progress(layers: &Layers, order: &str, now: Millis) -> u32 {
        let (order_type, req_no) = order.split_once('/').unwrap();
        layers.of(order_type, req_no, now).in_progress
    }

    #[test]
    fn the_longest_beginning_decides_and_the_rest_comes_from_below() {
        let layers = layers(&[
            (r#"{"orders":"a/X","in_progress":9}"#, Left::Kept, 0),
            (r#"{"in_progress":5,"failures":1}"#, Left::Kept, 0),
            (r#"{"orders":"a","in_progress":7}"#, Left::Kept, 0),
        ]);
        for (order, expected) in [("b/X", 5), ("a/Y", 7), ("ab/X1", 7), ("a/X1", 9)] {
            assert_eq!(in_progress(&layers, order, 0), expected, "{order}");
        }
        let whole = layers.of("a", "X1", 0);
        assert!((whole.failure_share - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_change_for_a_while_goes_and_leaves_what_was_before() {
        let layers = layers(&[
            (r#"{"for":"2s","in_progress":9}"#, Left::Kept, 1_000),
            (r#"{"in_progress":5}"#, Left::Kept, 1_000),
        ]);
        assert_eq!(in_progress(&layers, "a/1", 2_999), 9);
        assert_eq!(in_progress(&layers, "a/1", 3_000), 5);
        let told = serde_json::to_value(layers.told(2_500)).unwrap();
        assert_eq!(told[1]["in_progress"], 5);
        assert_eq!((&told[2]["for"], told.get(3)), (&"500ms".into(), None));
    }

    #[test]
    fn a_patch_keeps_what_it_leaves_out_and_a_put_forgets_it() {
        let before = (r#"{"orders":"a/","in_progress":9}"#, Left::Kept, 0);
        let after = r#"{"orders":"a/","failures":1}"#;
        let kept = layers(&[before, (after, Left::Kept, 0)]);
        assert_eq!(in_progress(&kept, "a/1", 0), 9);
        let forgotten = layers(&[before, (after, Left::Forgotten, 0)]);
        assert_eq!(in_progress(&forgotten, "a/1", 0), 2);
    }

    #[test]
    fn no_more_changes_stand_than_every_question_can_look_through() {
        let mut layers = layers(&[]);
        let change = |n: usize, lasts: &str| Change {
            orders: format!("a/{n}"),
            ..lasts.parse().unwrap()
        };
        for n in 0..LAYERS_MAX {
            let change = change(n, r#"{"for":"1s"}"#);
            layers.change(change, Left::Kept, 0).unwrap();
        }
        let refused = layers.change(change(LAYERS_MAX, "{}"), Left::Kept, 999);
        assert_eq!(refused.unwrap_err(), "256 changes stand already");
        layers
            .change(change(LAYERS_MAX, "{}"), Left::Kept, 1_000)
            .unwrap();
    }
}
