//! Access tokens: JWS in compact form (RFC 7515), `typ: at+jwt` (RFC 9068). Written by hand from the claims, because a held key signs
//! faster than one that is parsed each time; read through `jsonwebtoken`, whose lenient defaults are switched off, behind checks that it
//! does not make.

use std::{collections::HashSet, fmt};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Validation;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::json;

use crate::kernel::{
    error::{Kind, Result, TOKEN_EXPIRED, TOKEN_INVALID},
    identity::{
        model::{Algorithm, Claims},
        service::{signer::Signer, verifier::Verifier},
    },
};

/// What the clocks of two machines may differ by, in seconds.
const LEEWAY: i64 = 30;
/// No access token lives longer, whatever it says, in seconds.
const LONGEST: i64 = 24 * 3_600;
/// No access token is larger, in bytes.
const LARGEST: usize = 4_096;
/// The one media type.
const TYPE: &str = "at+jwt";

/// Who issues tokens, and for whom.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss`: the base of this deployment.
    pub issuer: String,
    /// `aud`: its API.
    pub audience: String,
}

impl Issuer {
    /// The issuer at this address.
    pub fn at(public_url: &str) -> Issuer {
        let issuer = public_url.trim_end_matches('/').to_owned();
        Issuer {
            audience: format!("{issuer}/api/v1"),
            issuer,
        }
    }
}

/// Writes and signs a token.
///
/// # Errors
/// Signing failed.
pub fn write(claims: &Claims, signer: &Signer) -> Result<String> {
    let head = json!({ "typ": TYPE, "alg": signer.algorithm(), "kid": signer.kid() });
    let claims = serde_json::to_string(claims).context("claims are plain JSON")?;
    let mut token = [head.to_string(), claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// The head of a token, as far as it matters. `jku`, `x5u`, `x5c` and `jwk` are not even read: they would let a token bring its own key.
#[derive(Deserialize)]
struct Head {
    typ: String,
    alg: String,
    kid: String,
}

/// A token whose head is acceptable. Nothing that it says counts yet.
pub struct Unproven<'a> {
    token: &'a str,
    head: Head,
}

/// Reads the head of a token.
///
/// # Errors
/// 401 `token-invalid`.
pub fn read(token: &str) -> Result<Unproven<'_>> {
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(TOKEN_INVALID.into());
    };
    if token.len() > LARGEST {
        return Err(TOKEN_INVALID.into());
    }
    let head = object(head)?;
    // Extensions that must be understood, another payload encoding, compression: none is.
    if ["crit", "b64", "zip", "enc"]
        .iter()
        .any(|name| head.contains_key(*name))
    {
        return Err(TOKEN_INVALID.into());
    }
    let head: Head = serde_json::from_value(head.into()).map_err(|_| TOKEN_INVALID)?;
    if head.typ != TYPE || Algorithm::named(&head.alg).is_none() {
        return Err(TOKEN_INVALID.into());
    }
    Ok(Unproven { token, head })
}

impl Unproven<'_> {
    /// What the key is called that is said to have signed it.
    pub fn kid(&self) -> &str {
        &self.head.kid
    }

    /// Proves the token and reads its claims. `now` is in Unix seconds.
    ///
    /// # Errors
    /// 401 `token-expired` for one that was good before, 401 `token-invalid` for everything else.
    pub fn prove(self, verifier: &Verifier, issuer: &Issuer, now: i64) -> Result<Claims> {
        if self.head.alg != verifier.algorithm.name() {
            return Err(TOKEN_INVALID.into());
        }
        let algorithm = match verifier.algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        };
        // Instants are judged below, by our own clock and without leniency towards other types; so are issuer and audience.
        let validation = Validation {
            required_spec_claims: HashSet::new(),
            leeway: 0,
            reject_tokens_expiring_in_less_than: 0,
            validate_exp: false,
            validate_nbf: false,
            validate_aud: false,
            aud: None,
            iss: None,
            sub: None,
            algorithms: vec![algorithm],
        };
        jsonwebtoken::decode::<serde::de::IgnoredAny>(self.token, &verifier.key, &validation)
            .map_err(|_| TOKEN_INVALID)?;
        let claims = object(self.token.split('.').nth(1).unwrap_or_default())?;
        let claims: Claims = serde_json::from_value(claims.into()).map_err(|_| TOKEN_INVALID)?;
        judge(&claims, issuer, now)?;
        Ok(claims)
    }
}

fn judge(claims: &Claims, issuer: &Issuer, now: i64) -> Result<(), Kind> {
    let times_hold = claims.iat <= now + LEEWAY
        && claims.nbf <= now + LEEWAY
        && claims.nbf.saturating_add(LEEWAY) >= claims.iat
        && claims.exp > claims.iat
        && claims.exp.saturating_sub(claims.iat) <= LONGEST
        && claims.auth_time <= now + LEEWAY;
    let shaped = !claims.jti.is_empty()
        && (1..=3).contains(&claims.aal)
        && !claims.amr.is_empty()
        && !claims.client_id.is_empty();
    if claims.iss != issuer.issuer || claims.aud != issuer.audience || !times_hold || !shaped {
        return Err(TOKEN_INVALID);
    }
    if claims.exp <= now - LEEWAY {
        return Err(TOKEN_EXPIRED);
    }
    Ok(())
}

/// A part of a token as a JSON object whose members each stand there once, at every depth.
fn object(part: &str) -> Result<serde_json::Map<String, serde_json::Value>, Kind> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TOKEN_INVALID)?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let value = Unique.deserialize(&mut reader).map_err(|_| TOKEN_INVALID)?;
    reader.end().map_err(|_| TOKEN_INVALID)?;
    match value {
        serde_json::Value::Object(members) => Ok(members),
        _ => Err(TOKEN_INVALID),
    }
}

/// JSON in which a name stands twice means two things to two readers.
#[derive(Clone, Copy)]
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = serde_json::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            all.push(element);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut all = serde_json::Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if all.insert(name, members.next_value_seed(self)?).is_some() {
                return Err(A::Error::custom("a name stands there twice"));
            }
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod mutants;
