//! Asking whether a licence is valid. The question goes to the database in one round trip, the verdict is a pure function of the answer, and
//! nothing of it is remembered here: revocation bites at commit.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    begin,
    envelope::{self, VERDICT},
    verdict::{self},
};

pub(in crate::features::licenses) use super::verdict::Asked;

use crate::{
    features::{
        licenses::{
            model::{
                CLIENT_NOT_ALLOWED, Code, Facts, KeyFacts, LICENSE_EXPIRED, LICENSE_NOT_USABLE, Question,
                Scope as Asks, Verdict,
            },
            queries,
        },
        policies::{Authentication, ClientVerb, ExpirationBasis, ExpirationStrategy, Rules},
    },
    kernel::{
        access::{LICENSE_UNKNOWN, Scope},
        check::tidy,
        db::{Db, Tenant},
        error::{Result, WORKSPACE_SUSPENDED},
        http::Software,
        id::LicenseId,
        identity::Signer,
        peppers::Pepper,
    },
};

/// How long a verdict waits for the note that it was asked for.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often it is noted that a licence was asked about.
const NOTED: TimeDelta = TimeDelta::minutes(15);

/// The HMAC of a fingerprint. Its white space at the ends and its Unicode form do not count.
pub(in crate::features::licenses) fn fingerprint(pepper: &Pepper, text: &str) -> Option<[u8; 32]> {
    let text = tidy(text);
    (!text.is_empty()).then(|| pepper.hash("machine", &text))
}

/// What is known for a verdict, in a transaction. `None`: there is no such licence here.
///
/// # Errors
/// 403 `workspace-suspended` when the vendor is barred for abuse.
pub fn facts(tx: &mut Tenant<'_>, question: Question) -> Result<Option<Facts>> {
    not_barred(queries::facts(tx.conn(), question)?)
}

fn not_barred(facts: Option<Facts>) -> Result<Option<Facts>> {
    match facts {
        Some(facts) if facts.vendor_barred => Err(WORKSPACE_SUSPENDED.into()),
        facts => Ok(facts),
    }
}

/// The verdict on a licence. `verb` is what the customer's software wants to do, if it is that.
///
/// # Errors
/// 403 `client-not-allowed`, `workspace-suspended`.
pub(in crate::features::licenses) async fn validate(
    db: &Db,
    scope: Scope,
    question: Question,
    asked: Asked,
    verb: Option<ClientVerb>,
) -> Result<Verdict> {
    let facts = not_barred(
        db.ask(scope.clone(), move |context| queries::glance(context, question))
            .await?,
    )?;
    let Some(facts) = facts else {
        return Ok(verdict::unknown(asked, db.clock().now()));
    };
    if let Some(verb) = verb {
        allowed(&facts.terms.rules, verb)?;
    }
    let verdict = verdict::judge(&facts, asked.clone());
    let Some(effect) = Effect::of(&facts, &verdict) else {
        return Ok(verdict);
    };
    // What has to be written is rare: the term's beginning once, the last time every quarter of an hour.
    match effect {
        Effect::Begins => start(db, scope, facts, question, asked).await,
        Effect::Seen => {
            note(db, scope, &facts).await;
            Ok(verdict)
        }
    }
}

/// The term begins with this validation or with a twin's, for whose lock it waited: either way the verdict is of what is true then.
async fn start(db: &Db, scope: Scope, facts: Facts, question: Question, asked: Asked) -> Result<Verdict> {
    db.tenant(scope, move |tx| {
        begin(
            tx,
            facts.license,
            &facts.terms.rules,
            ExpirationBasis::FromFirstValidation,
        )?;
        queries::seen(tx.conn(), facts.license, facts.now)?;
        Ok(match queries::facts(tx.conn(), question)? {
            Some(facts) => verdict::judge(&facts, asked),
            None => verdict::unknown(asked, facts.now),
        })
    })
    .await
}

/// Notes that the licence was asked about. The verdict is known: whatever keeps this from being written keeps nobody from hearing it.
async fn note(db: &Db, scope: Scope, facts: &Facts) {
    let (license, now) = (facts.license, facts.now);
    let noting = db.tenant(scope, move |tx| {
        if queries::try_lock(tx.conn(), license)? {
            queries::seen(tx.conn(), license, now)?;
        }
        Ok(())
    });
    match tokio::time::timeout(PATIENCE, noting).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(?error, "it is not noted that a licence was asked about"),
        Err(_) => tracing::debug!("it is noted later that a licence was asked about, or not at all"),
    }
}

/// The same about nothing in particular, and without leaving a trace: no term begins with it, and it is no sign of use.
///
/// # Errors
/// As [`validate`], and 401 `license-unknown` if the licence is gone.
pub(in crate::features::licenses) async fn look(db: &Db, software: &Software) -> Result<Verdict> {
    let question = Question {
        hash: Some(software.hash()),
        ..Question::default()
    };
    let answer = db
        .ask(software.scope().clone(), move |context| {
            queries::glance(context, question)
        })
        .await?;
    let facts = not_barred(answer)?.ok_or(LICENSE_UNKNOWN)?;
    allowed(&facts.terms.rules, ClientVerb::Validate)?;
    Ok(verdict::judge(&facts, Asked::default()))
}

/// The same for whoever shows a key that leads nowhere.
pub(in crate::features::licenses) fn nowhere(asked: Asked, now: DateTime<Utc>) -> Verdict {
    verdict::unknown(asked, now)
}

/// What a validation leaves behind.
enum Effect {
    Begins,
    Seen,
}

impl Effect {
    fn of(facts: &Facts, verdict: &Verdict) -> Option<Effect> {
        // A stranger with a dead key is no sign of use.
        if matches!(verdict.code, Code::KeyRevoked | Code::Pooled | Code::Revoked) {
            return None;
        }
        let first = facts.terms.rules.expiration_basis == ExpirationBasis::FromFirstValidation;
        let begins = first && facts.started_at.is_none() && verdict.valid;
        let due = facts.last_validated_at.is_none_or(|last| last + NOTED <= facts.now);
        match (begins, due) {
            (true, _) => Some(Effect::Begins),
            (false, true) => Some(Effect::Seen),
            (false, false) => None,
        }
    }
}

/// Puts the workspace's signature under a verdict.
///
/// # Errors
/// Whatever keeps the key from signing.
pub(in crate::features::licenses) fn sign(
    verdict: &mut Verdict,
    signer: &Signer,
    scope: &Scope,
    key: Option<[u8; 32]>,
) -> Result<()> {
    let payload = verdict.to_sign(scope.workspace().to_string(), key);
    let signed = envelope::seal(VERDICT, signer.kid(), &payload, |message| signer.sign(message))?;
    verdict.signed = Some(signed);
    Ok(())
}

/// Refuses what a policy does not let the customer's software do.
fn allowed(rules: &Rules, verb: ClientVerb) -> Result<()> {
    let listed = rules.client_may.contains(&verb);
    if !listed || rules.authentication_strategy == Authentication::None {
        return Err(CLIENT_NOT_ALLOWED
            .because(format!("The policy does not let the software {verb}."))
            .into());
    }
    Ok(())
}

/// Admits the customer's software to an operation other than validation: its key must be alive, and its policy must allow it.
///
/// # Errors
/// 401 `license-unknown` for a key that is dead, 401 `license-expired` where expiry ends a key, 403 `client-not-allowed`.
pub fn admitted(facts: &Facts, verb: ClientVerb) -> Result<()> {
    let dead = match facts.key {
        Some(KeyFacts::Dead) => true,
        Some(KeyFacts::Overlapping(ends_at)) => ends_at <= facts.now,
        Some(KeyFacts::Current) | None => false,
    };
    if dead {
        return Err(LICENSE_UNKNOWN.because("The key is no longer valid.").into());
    }
    let rules = &facts.terms.rules;
    let verdict = verdict::judge(facts, Asked::default());
    let ended = verdict.reasons.iter().any(|reason| reason.code == Code::Expired);
    if ended && rules.expiration_strategy == ExpirationStrategy::RevokeAccess {
        return Err(LICENSE_EXPIRED.into());
    }
    allowed(rules, verb)
}

/// Refuses a licence that cannot be used: by its own state, whatever machine asks.
///
/// # Errors
/// 409 `license-not-usable` with the code of the verdict.
pub fn usable(facts: &Facts) -> Result<()> {
    let verdict = verdict::judge(facts, Asked::default());
    let own = |code: &Code| {
        matches!(
            code,
            Code::KeyRevoked
                | Code::Pooled
                | Code::Revoked
                | Code::Suspended
                | Code::CustomerBanned
                | Code::NotStarted
                | Code::Expired
        )
    };
    match verdict.reasons.iter().find(|reason| own(&reason.code)) {
        Some(reason) => Err(LICENSE_NOT_USABLE
            .because(reason.detail.clone())
            .with("reason", reason.code)
            .into()),
        None => Ok(()),
    }
}

/// What a caller asks, and of which licence.
pub(in crate::features::licenses) fn question(
    hash: Option<[u8; 32]>,
    license: Option<LicenseId>,
    asks: &Asks,
    fingerprint: Option<[u8; 32]>,
) -> Question {
    Question {
        hash,
        license,
        machine: asks.machine,
        fingerprint,
    }
}
