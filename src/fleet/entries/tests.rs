use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fleet::{IdentityId, Issuance};
use crate::time::Timestamp;

#[test]
fn an_entry_takes_few_bytes() {
    assert_eq!((size_of::<Packed>(), size_of::<Past>(), size_of::<Marks>()), (39, 24, 28));
}

proptest! {
    /// Whatever was learned, in whatever order: the moments of what is found again are those that were planned.
    #[test]
    fn what_was_learned_is_kept(all in prop::collection::vec((0..4_u64, 0..4000_u64, any::<[u8; 16]>()), 1..8)) {
        let learned = all.into_iter().map(|(issued, more, random)| {
            let issued = Timestamp::from_secs(1_793_318_400 + issued);
            let not_after = issued + Duration::from_secs(86_400 + more);
            Issuance {
                identity: IdentityId::from_key(&[1; 12]).unwrap(),
                serial: Serial::new(not_after, random),
                issued,
                not_before: issued - Duration::from_secs(60 + more % 7),
                not_after,
                revoked: false,
                automatic: false,
                provisioner: 0,
            }
        });
        let learned: Vec<Issuance> = learned.collect();
        let mut entry = Entry::new(&learned[0]);
        let mut entries = Entries::default();
        let slot = entries.insert(&entry);
        for issuance in &learned[1..] {
            entry.learn(issuance);
            entries.put(slot, &entry);
            prop_assert_eq!((entries.get(slot), entries.get(slot).next()), (entry, entry.next()));
        }
    }
}

/// Mostly nothing.
fn rare() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => any::<u32>()]
}

fn entry() -> impl Strategy<Value = Entry> {
    let recent =
        (0..=RECENT, any::<[u32; RECENT]>(), any::<[u32; RECENT]>(), [rare(), rare(), rare(), rare()]);
    let recent = recent.prop_map(|(known, issued, expired, called)| {
        std::array::from_fn(|at| match RECENT - at <= known {
            true => Held { issued: issued[at], expired: expired[at], called: called[at] },
            false => Held::default(),
        })
    });
    let setbacks = (rare(), rare(), prop_oneof![Just([0; Cause::COUNT]), any::<[u8; Cause::COUNT]>()]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let kept = (0..State::COUNT, 0..Cause::COUNT);
    let backdate = prop_oneof![Just(60), any::<u32>()];
    let plain = (any::<[u8; 12]>(), any::<[u8; 19]>(), backdate, any::<u16>());
    (plain, recent, setbacks, flags, kept, [rare(), rare(), rare()]).prop_map(
        |((id, serial, backdate, provisioner), recent, setbacks, flags, kept, marks)| {
            let (retired, failed, failures) = setbacks;
            let (usual, revoked, automatic) = flags;
            let serial = Serial::from_bytes(&serial).unwrap();
            let recent: [Held; RECENT] = recent;
            let Held { issued, expired, .. } = recent[RECENT - 1];
            let serial = if usual { Serial::new(time(expired), serial.random()) } else { serial };
            let not_before = issued.wrapping_sub(backdate);
            Entry {
                id: IdentityId::from_key(&id).unwrap(),
                serial,
                recent,
                not_before,
                window_end: window_end(not_before, expired, &serial),
                retired,
                failed,
                failures,
                last_cause: if failed == 0 { Cause::Other } else { Cause::ALL[kept.1] },
                revoked,
                automatic,
                asked: marks[0],
                calls: marks[1],
                answered: marks[2],
                provisioner,
                state: State::ALL[kept.0],
            }
        },
    )
}

proptest! {
    /// What is kept of each is what was put there last, whatever became of its neighbours.
    #[test]
    fn what_is_put_is_what_is_found(steps in prop::collection::vec((0..4_u8, any::<u32>(), entry()), 1..200)) {
        let mut entries = Entries::default();
        let mut known: BTreeMap<Slot, Entry> = BTreeMap::new();
        for (step, which, entry) in steps {
            let one = known.keys().nth(which as usize % known.len().max(1)).copied();
            match (step, one) {
                (0 | 1, _) | (_, None) => {
                    let slot = entries.insert(&entry);
                    prop_assert!(known.insert(slot, entry).is_none());
                }
                (2, Some(slot)) => {
                    entries.put(slot, &entry);
                    known.insert(slot, entry);
                }
                (_, Some(slot)) => {
                    entries.remove(slot);
                    known.remove(&slot);
                    prop_assert_eq!(entries.find(slot), None);
                }
            }
            for (slot, entry) in &known {
                prop_assert_eq!(entries.find(*slot), Some(*entry));
                prop_assert_eq!((entries.id(*slot), entries.calls(*slot)), (&entry.id, entry.calls));
            }
        }
        entries.unmark(u32::MAX);
        for (slot, entry) in &known {
            prop_assert_eq!(entries.get(*slot), Entry { calls: 0, answered: 0, ..*entry });
        }
        known.keys().for_each(|slot| entries.remove(*slot));
        prop_assert!(entries.setbacks.is_empty() && entries.odd.is_empty() && entries.kinds.is_empty());
        entries.unmark(0);
        prop_assert!(entries.marks.iter().all(Option::is_none));
    }
}
