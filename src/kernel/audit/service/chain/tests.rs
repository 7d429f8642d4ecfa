//! A chain that is tampered with in every way that a row can be.

use chrono::{Duration, TimeZone, Utc};
use uuid::Uuid;

use super::*;
use crate::kernel::{audit::model::AuditOutcome, id::AuditId};

/// A sound chain of so many places.
fn chain(places: i64) -> Vec<Place> {
    let workspace = WorkspaceId::from_uuid(Uuid::from_u128(1));
    let begin = Utc.timestamp_opt(1_700_000_000, 0).single().expect("a time");
    let (mut before, mut chain) = (START, Vec::new());
    for seq in 1..=places {
        let id = AuditId::from_uuid(Uuid::from_u128(1_000 + seq as u128));
        let said = Personal {
            workspace_id: workspace,
            entry_id: id,
            ip: Some(format!("203.0.113.{seq}")),
            user_agent: None,
            actor_email: None,
            salt: vec![seq as u8; 16],
        };
        let entry = Logged {
            workspace_id: workspace,
            id,
            action: "member.updated".into(),
            actor_type: "user".into(),
            actor_id: Some(Uuid::from_u128(7)),
            impersonator_id: None,
            subject_type: Some("member".into()),
            subject_prefix: Some("mem".into()),
            subject_id: Some(Uuid::from_u128(8)),
            changes: json!({ "role": ["viewer", "admin"] }),
            outcome: AuditOutcome::Done,
            code: None,
            occurrences: 1,
            request_id: Some(format!("req_{seq}")),
            session_id: None,
            reseller_id: None,
            customer_id: None,
            personal_hash: Some(personal(&said).expect("plain").to_vec()),
            created_at: begin + Duration::microseconds(seq),
        };
        before = link(&before, &entry).expect("plain");
        let seal = Seal {
            workspace_id: workspace,
            seq,
            entry_id: id,
            hash: before.to_vec(),
        };
        chain.push((seal, Some(entry), Some(said)));
    }
    chain
}

fn walk(chain: &[Place], heads: &[Head<'_>]) -> Verdict {
    let mut walk = Walk::default();
    for place in chain {
        if !walk.step(place).expect("plain") {
            break;
        }
        for head in heads.iter().filter(|head| head.seq == place.0.seq) {
            if !walk.vouch(head) {
                return walk.end(None, None);
            }
        }
    }
    walk.end(heads.iter().map(|head| head.seq).max(), None)
}

fn found(chain: &[Place]) -> Option<(i64, Fault)> {
    walk(chain, &[]).broken.map(|broken| (broken.seq, broken.fault))
}

fn entry(chain: &mut [Place], seq: usize) -> &mut Logged {
    chain[seq - 1].1.as_mut().expect("an entry")
}

#[test]
fn a_sound_chain_holds() {
    let verdict = walk(&chain(9), &[]);
    assert_eq!((verdict.places, verdict.broken), (9, None));
    assert_eq!(walk(&[], &[]), Verdict::default());
}

#[test]
fn whatever_is_changed_in_an_entry_is_found_where_it_is() {
    let changes: [fn(&mut Logged); 12] = [
        |entry| entry.action.push('s'),
        |entry| entry.actor_id = Some(Uuid::from_u128(9)),
        |entry| entry.actor_type = "system".into(),
        |entry| entry.impersonator_id = Some(Uuid::from_u128(9)),
        |entry| entry.subject_id = None,
        |entry| entry.changes = json!({ "role": ["viewer", "owner"] }),
        |entry| entry.outcome = AuditOutcome::Refused,
        |entry| entry.occurrences += 1,
        |entry| entry.request_id = None,
        |entry| entry.workspace_id = WorkspaceId::from_uuid(Uuid::from_u128(2)),
        |entry| entry.created_at += Duration::microseconds(1),
        |entry| entry.personal_hash.as_mut().expect("a hash")[31] ^= 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        for seq in [1, 5, 9] {
            let mut chain = chain(9);
            change(entry(&mut chain, seq));
            assert_eq!(found(&chain), Some((seq as i64, Fault::Altered)), "change {n}");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_seal_is_found_where_it_is() {
    for bit in 0..256 {
        let mut chain = chain(3);
        chain[1].0.hash[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(found(&chain), Some((2, Fault::Altered)), "bit {bit}");
    }
}

#[test]
fn what_was_said_of_a_person_may_go_but_not_change() {
    let mut chain = chain(5);
    chain[2].2 = None;
    assert_eq!(found(&chain), None);
    chain[3].2.as_mut().expect("said").ip = Some("198.51.100.1".into());
    assert_eq!(found(&chain), Some((4, Fault::PersonalAltered)));
}

#[test]
fn a_removed_entry_or_place_is_found_where_it_was() {
    let mut gone = chain(5);
    gone[2].1 = None;
    assert_eq!(found(&gone), Some((3, Fault::Missing)));
    let mut cut = chain(5);
    cut.remove(2);
    assert_eq!(found(&cut), Some((3, Fault::Gap)));
    // Closed up, the numbers are right again, but not the hashes.
    cut[2].0.seq = 3;
    cut[3].0.seq = 4;
    assert_eq!(found(&cut), Some((3, Fault::Altered)));
}

#[test]
fn a_reordered_or_inserted_entry_is_found_where_it_is() {
    let mut swapped = chain(5);
    let (second, third) = (swapped[1].clone(), swapped[2].clone());
    (swapped[1].1, swapped[1].2) = (third.1, third.2);
    (swapped[2].1, swapped[2].2) = (second.1, second.2);
    assert_eq!(found(&swapped), Some((2, Fault::Altered)));

    let mut grown = chain(5);
    let mut copy = grown[2].clone();
    copy.0.seq = 4;
    grown.insert(3, copy);
    grown[4].0.seq = 5;
    grown[5].0.seq = 6;
    assert_eq!(found(&grown), Some((4, Fault::Altered)));
}

#[test]
fn a_signed_head_shows_that_the_end_was_cut_off_or_made_anew() {
    let sound = chain(5);
    let head = Head {
        seq: 5,
        hash: &sound[4].0.hash,
        signature: Signature::Good,
    };
    assert_eq!(walk(&sound, &[head]).checkpoints, 1);
    let cut = walk(
        &sound[..3],
        &[Head {
            seq: 5,
            hash: &sound[4].0.hash,
            signature: Signature::Good,
        }],
    );
    assert_eq!(
        cut.broken.map(|broken| (broken.seq, broken.fault)),
        Some((4, Fault::Truncated))
    );
    let (other, own) = (vec![0; 32], sound[4].0.hash.clone());
    for (hash, signature) in [
        (&other, Signature::Good),
        (&other, Signature::Withdrawn),
        (&own, Signature::Wrong),
    ] {
        let head = Head {
            seq: 5,
            hash,
            signature,
        };
        let wrong = walk(&sound, &[head]).broken.expect("a broken chain");
        assert_eq!((wrong.seq, wrong.fault), (5, Fault::CheckpointWrong));
    }
}

#[test]
fn what_retention_left_holds_only_if_a_signed_head_vouches_for_it() {
    let mut kept = chain(6).split_off(2);
    kept[0].1 = None;
    assert_eq!(found(&kept), Some((2, Fault::Gap)));
    let hash = kept[0].0.hash.clone();
    let head = Head {
        seq: 3,
        hash: &hash,
        signature: Signature::Good,
    };
    assert_eq!(walk(&kept, &[head]).broken, None);

    // Also where only the very first is gone; and a head further on vouches for no place but its own.
    let mut kept = chain(6);
    kept[0].1 = None;
    let hashes: Vec<_> = kept.iter().map(|place| place.0.hash.clone()).collect();
    let head = |seq: usize| Head {
        seq: seq as i64,
        hash: &hashes[seq - 1],
        signature: Signature::Good,
    };
    let broken = |heads: &[Head<'_>]| walk(&kept, heads).broken.map(|broken| (broken.seq, broken.fault));
    assert_eq!(broken(&[head(1), head(4)]), None);
    assert_eq!(broken(&[head(4)]), Some((1, Fault::Missing)));
}

#[test]
fn a_head_whose_key_was_withdrawn_vouches_for_nothing_and_hides_nothing() {
    let mut kept = chain(6).split_off(2);
    kept[0].1 = None;
    let hashes: Vec<_> = kept.iter().map(|place| place.0.hash.clone()).collect();
    let head = |seq: usize, signature| Head {
        seq: seq as i64,
        hash: &hashes[seq - 3],
        signature,
    };
    let (good, withdrawn) = (Signature::Good, Signature::Withdrawn);
    let fault = |kept: &[Place], heads: &[Head<'_>]| walk(kept, heads).broken.map(|broken| (broken.seq, broken.fault));
    let held = walk(&kept, &[head(3, withdrawn), head(4, withdrawn), head(6, good)]);
    assert_eq!((held.checkpoints, held.withdrawn, held.broken), (1, 2, None));
    // Where retention cut, only whoever vouches for what follows vouches for the hash.
    assert_eq!(fault(&kept, &[head(3, withdrawn)]), Some((3, Fault::Unvouched)));
    let mut cut = Walk::default();
    for place in &kept {
        assert!(cut.step(place).expect("plain"));
        assert!(place.0.seq != 3 || cut.vouch(&head(3, withdrawn)));
    }
    let stray = cut.end(Some(3), Some(AuditId::from_uuid(Uuid::from_u128(5)))).broken;
    assert_eq!(stray.map(|broken| broken.fault), Some(Fault::Unsealed));
    assert_eq!(
        fault(&kept, &[head(4, withdrawn), head(6, good)]),
        Some((2, Fault::Gap))
    );
    // What was altered behind it is found.
    entry(&mut kept, 3).action.push('s');
    assert_eq!(fault(&kept, &[head(3, withdrawn)]), Some((5, Fault::Altered)));
}

#[test]
fn an_entry_that_the_chain_passed_over_is_named() {
    let mut walk = Walk::default();
    for place in chain(2) {
        assert!(walk.step(&place).expect("plain"));
    }
    let stray = AuditId::from_uuid(Uuid::from_u128(5));
    let broken = walk.end(None, Some(stray)).broken.expect("a broken chain");
    assert_eq!((broken.fault, broken.entry), (Fault::Unsealed, Some(stray)));
}
