//! Signatures that do not fit, and things that are no token at all.

use serde_json::json;

use super::*;

/// Signatures that do not fit.
pub(super) fn wrong_signatures(world: &World, signer: &Signer) -> Vec<Case> {
    let (head, claims) = (head(signer), claims());
    let good = || signed(&text(&head), &text(&claims), signer);
    let (message, signature) = good()
        .rsplit_once('.')
        .map(|(m, s)| (m.to_owned(), s.to_owned()))
        .unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    let resigned = |bytes: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut cases = vec![
        case("no signature", format!("{message}."), good()),
        case("signature cut", resigned(&bytes[..bytes.len() - 1]), good()),
        case("signature longer", resigned(&[&bytes[..], &[0]].concat()), good()),
        case("signature of zeros", resigned(&vec![0; bytes.len()]), good()),
        case(
            "signature backwards",
            resigned(&bytes.iter().rev().copied().collect::<Vec<_>>()),
            good(),
        ),
        case(
            "signed by a foreign key",
            signed(&text(&head), &text(&claims), &world.foreign),
            good(),
        ),
        case("padded", format!("{message}.{signature}=="), good()),
        case("a space behind", format!("{message}.{signature} "), good()),
        case("a line end behind", format!("{message}.{signature}\n"), good()),
        case(
            "claims of another token",
            {
                let other = URL_SAFE_NO_PAD.encode(text(&with(&claims, "aal", json!(2))));
                format!("{}.{other}.{signature}", message.split('.').next().unwrap())
            },
            good(),
        ),
    ];
    for place in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        cases.push(case(
            format!("signature: byte {place} flipped"),
            resigned(&flipped),
            good(),
        ));
    }
    // HMAC with what everybody knows of the key.
    let jwk = serde_json::to_string(signer.jwk()).unwrap();
    let secrets = [
        signer.jwk().n.clone(),
        signer.jwk().x.clone(),
        Some(jwk),
        Some(signer.kid().to_owned()),
        Some(String::new()),
    ];
    for secret in secrets.into_iter().flatten() {
        let raw = URL_SAFE_NO_PAD.decode(&secret).unwrap_or_default();
        for (kind, secret) in [("text", secret.into_bytes()), ("bytes", raw)] {
            for alg in ["HS256", signer.algorithm()] {
                let head = URL_SAFE_NO_PAD.encode(text(&with(&head, "alg", json!(alg))));
                let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(text(&claims)));
                let mac = URL_SAFE_NO_PAD.encode(crypto::hmac(&secret, message.as_bytes()));
                cases.push(case(
                    format!("{alg} by HMAC with a public {kind}"),
                    format!("{message}.{mac}"),
                    good(),
                ));
            }
        }
    }
    cases
}

/// Things that are no token at all.
pub(super) fn wrong_shapes(signer: &Signer) -> Vec<Case> {
    let (head, claims) = (text(&head(signer)), text(&claims()));
    let good = || signed(&head, &claims, signer);
    let spaced = |text: &str| text.replace("\":", "\" : ");
    let mut cases = vec![
        case(
            "claims in an array",
            signed(&head, &format!("[{claims}]"), signer),
            good(),
        ),
        case(
            "claims and more",
            signed(&head, &format!("{claims}{{}}"), signer),
            signed(&head, &format!("{claims} \n"), signer),
        ),
        case("claims cut", signed(&head, &claims[..claims.len() - 1], signer), good()),
        case(
            "claims behind a byte order mark",
            signed(&head, &format!("\u{feff}{claims}"), signer),
            signed(&head, &format!(" {claims}"), signer),
        ),
        case(
            "head in an array",
            signed(&format!("[{head}]"), &claims, signer),
            signed(&spaced(&head), &claims, signer),
        ),
        case("head of nothing", signed("{}", &claims, signer), good()),
        case(
            "claims of nothing",
            signed(&head, "{}", signer),
            signed(&head, &spaced(&claims), signer),
        ),
        case(
            "too large",
            signed(&head, &format!("{claims}{}", " ".repeat(LARGEST)), signer),
            signed(&head, &format!("{claims}{}", " ".repeat(64)), signer),
        ),
        case(
            "standard alphabet",
            good().replace('_', "/").replace('-', "+") + "+",
            good(),
        ),
        case("scheme left in", format!("Bearer {}", good()), good()),
    ];
    for shape in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "e30.e30.",
        "null",
        "{}",
        "eyJhbGciOiJub25lIn0.e30.",
    ] {
        cases.push(case(format!("{shape:?}"), shape.to_owned(), good()));
    }
    let parts: Vec<String> = good().split('.').map(str::to_owned).collect();
    for (name, shape) in [
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{}.", good())),
        ("five parts", format!("{}.{}.{}", parts[0], good(), parts[2])),
        ("empty head", format!(".{}.{}", parts[1], parts[2])),
        ("empty claims", format!("{}..{}", parts[0], parts[2])),
        (
            "JSON serialization",
            json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string(),
        ),
    ] {
        cases.push(case(name, shape, good()));
    }
    cases
}
