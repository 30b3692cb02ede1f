//! The canonical form of a world, as one number: two worlds with the same number can do the same.
//!
//! Left out is what follows from the rest, and what is told to people only. Workers are
//! interchangeable, and letters under way have no order, so their prints are added up. Versions are
//! only ever compared with the view's and counted on from it, so they are told by their distance from
//! that. Time needs no abstraction: it stands at a few instants (`act`), the same for everybody.

use super::part::{mix, print, print_but};
use super::small::{Small, View, Worker};
use crate::shard::core::{Core, Generation};

impl Small {
    pub fn print(&self) -> u64 {
        let Self {
            now,
            workers,
            owner,
            view,
            snapshot,
            events,
            results,
            coordinators,
            ghosts,
            late_commit,
            intruder,
            floors,
            committed,
            letters,
            forwards,
            answers,
            // As many as acquires were used.
            tokens: _,
            said,
            left,
        } = self;
        let version = view.version();
        let since = |other: u64| version.wrapping_sub(other);
        let mut all = print(&(
            (coordinators, late_commit, intruder, floors, said, left),
            (now, committed, letters, forwards, answers),
        ));
        for (i, worker) in workers.iter().enumerate() {
            let own = mix(worker.print(version), u64::from(*owner == Some(i)));
            all = all.wrapping_add(mix(own, 1));
        }
        for ghost in ghosts {
            all = mix(all, print_but(ghost, &["version: ", "clock: "]));
            all = mix(all, since(ghost.version));
        }
        all = mix(all, view.print(View::print));
        if let Some(snapshot) = snapshot {
            all = mix(all, snapshot.print(View::print));
            all = mix(all, since(snapshot.version()));
        }
        all = mix(all, events.print(|log| print(log)));
        mix(all, results.print(|log| print(log)))
    }
}

impl Worker {
    fn print(&self, version: u64) -> u64 {
        let Self {
            core,
            believes,
            awake,
            readers,
            publisher,
            mail,
        } = self;
        let (generation, own) = (core.generation(), core.own.as_ref());
        let mut all = mix(
            core.print(core_print),
            print(&(believes, awake, readers, publisher)),
        );
        all = mix(all, own.map_or(0, |own| version.wrapping_sub(own.version)));
        for mail in mail {
            let stale = u64::from(mail.generation != generation);
            all = all.wrapping_add(mix(mail.print, stale));
        }
        all
    }
}

fn core_print(core: &Core) -> u64 {
    let Core {
        plan: _,
        phase,
        // Letters say whether they belong to it.
        generation: _,
        // The time at which it last looked: now, or it is not awake.
        mono: _,
        began,
        own,
        floor,
        // Set anew before each turn.
        permits: _,
        // For people only.
        told: _,
        cut,
        kept,
    } = core;
    let Some(own) = own else {
        return print(&(phase, began, floor, cut, kept));
    };
    let Generation {
        token,
        // That of a script in flight, too; told by `Worker::print`.
        version: _,
        mark_key: _,
        types,
        intake,
        results,
        gate,
        wheel,
        outbox,
        rebuild,
        e,
        committed,
        time_base,
        caught_up,
        asked_from,
        stands_at,
        blocked_told: _,
        surveyed_at,
        floored_at,
    } = own;
    let all = (
        (phase, began, floor, cut, kept),
        (token, e, committed, time_base, caught_up),
        (asked_from, stands_at, surveyed_at, floored_at),
        (types, intake, results, gate, wheel, outbox, rebuild),
    );
    print_but(&all, &["version: ", "clock: "])
}
