//! Which passwords are accepted: long ones that nobody would try first. No rules of composition, no expiry (NIST SP 800-63B-4).

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

use crate::kernel::{check::Check, error::FieldCode, secret::Secret};

/// Words, names and whole passwords that stand at the head of every published ranking, and the forms people make of them: written down from
/// general knowledge, not copied from a leak. Sorted, lower case.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common.txt").lines().collect());

/// Rows of keyboards, the alphabet and the digits, each long enough to be walked around.
const WALKS: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "012345678901234567890123456789012345678901234567890123456789",
    "1234567890qwertyuiopasdfghjklzxcvbnm1234567890qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiopasdfghjklzxcvbnmqwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnmqwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbnazertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
];

/// The most characters. More buys no strength and costs time.
const MOST: usize = 128;
/// Fewer different characters than this are no password, however many there are.
const DISTINCT: usize = 4;
/// A password that is nothing but context words and so few other letters is made of them.
const REST: usize = 4;

/// What passwords of this deployment must be.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The fewest characters: 15, or what the configuration says (8 at least).
    pub shortest: usize,
}

impl Policy {
    /// Notes what is wrong with a password. `context` are words that an attacker would try for this account: the address, names, the
    /// workspace; each is taken apart into its words.
    pub fn judge(&self, check: &mut Check, pointer: &str, password: &Secret<String>, context: &[&str]) {
        let password = Secret::new(password.expose().nfc().collect::<String>());
        let length = password.expose().chars().count();
        if length < self.shortest {
            check.refuse(
                pointer,
                FieldCode::TooShort,
                format!("At least {} characters.", self.shortest),
            );
        } else if length > MOST {
            check.refuse(pointer, FieldCode::TooLong, format!("At most {MOST} characters."));
        } else if is_common(password.expose()) {
            check.refuse(
                pointer,
                FieldCode::InvalidChoice,
                "This is among the first passwords that anybody would try.",
            );
        } else if is_made_of(password.expose(), context) {
            check.refuse(
                pointer,
                FieldCode::ConflictsWith,
                "This is made of your name, your address or the name of this service.",
            );
        }
    }
}

fn is_common(password: &str) -> bool {
    let plain = Secret::new(password.to_lowercase());
    // Spaces and dashes between two of a kind make it no rarer.
    let together = Secret::new(plain.expose().split([' ', '-', '_', '.', ',']).collect::<String>());
    is_guessed(plain.expose()) || is_guessed(together.expose())
}

fn is_guessed(plain: &str) -> bool {
    let (core, head) = (
        plain.trim_matches(|c: char| !c.is_alphabetic()),
        plain.trim_end_matches(|c: char| !c.is_alphabetic()),
    );
    [plain, core, head]
        .iter()
        .any(|form| is_listed(form) || is_listed(Secret::new(fold(form)).expose()))
        || is_monotonous(plain)
        || is_monotonous(Secret::new(fold(plain)).expose())
        || is_two(plain)
        || is_two(Secret::new(fold(plain)).expose())
        || is_walk(plain)
}

fn is_listed(word: &str) -> bool {
    COMMON.binary_search(&word).is_ok()
}

/// Two of the list, one after the other: a guesser tries all pairs within minutes.
fn is_two(word: &str) -> bool {
    let breaks = word.char_indices().map(|(place, _)| place).skip(1);
    breaks
        .map(|place| word.split_at(place))
        .any(|(one, other)| is_listed(one) && is_listed(other))
}

/// Letters where people write digits and signs instead.
fn fold(word: &str) -> String {
    word.chars().map(unfold).collect()
}

fn unfold(sign: char) -> char {
    match sign {
        '@' | '4' => 'a',
        '0' => 'o',
        '3' | '€' => 'e',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '1' | '!' | '|' => 'i',
        '9' => 'g',
        '8' => 'b',
        other => other,
    }
}

/// A few characters, or something short or common again and again.
fn is_monotonous(word: &str) -> bool {
    let letters: Vec<char> = word.chars().collect();
    let mut different = letters.clone();
    different.sort_unstable();
    different.dedup();
    let repeats = |size: usize| letters.iter().zip(&letters[size..]).all(|(one, next)| one == next);
    different.len() < DISTINCT
        || (1..=letters.len() / 2)
            .filter(|size| repeats(*size))
            .any(|size| size <= 5 || is_listed(&letters[..size].iter().collect::<String>()))
}

/// A walk over the keyboard, the alphabet or the digits, forwards or backwards.
fn is_walk(word: &str) -> bool {
    let backwards: String = word.chars().rev().collect();
    WALKS
        .iter()
        .any(|walk| walk.contains(word) || walk.contains(&backwards))
}

/// Nothing much is left without the context's words, digits and signs.
fn is_made_of(password: &str, context: &[&str]) -> bool {
    let plain: Vec<char> = password.to_lowercase().chars().collect();
    let folded: Vec<char> = plain.iter().copied().map(unfold).collect();
    let mut covered = vec![false; plain.len()];
    for word in ["guildhall"].iter().chain(context).flat_map(|text| words_of(text)) {
        let word: Vec<char> = word.chars().collect();
        for form in [&plain, &folded] {
            for start in 0..form.len().saturating_sub(word.len() - 1) {
                if form[start..start + word.len()] == word {
                    covered[start..start + word.len()].fill(true);
                }
            }
        }
    }
    let rest = plain
        .iter()
        .zip(&covered)
        .filter(|(c, covered)| c.is_alphabetic() && !**covered);
    covered.contains(&true) && rest.count() < REST
}

/// The words of a name or an address, and the whole of it written together; at least three characters each.
fn words_of(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let mut words: Vec<String> = text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    words.push(words.concat());
    words.retain(|word| word.chars().count() >= 3);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::error::Error;

    fn verdict(shortest: usize, password: &str, context: &[&str]) -> Option<FieldCode> {
        let mut check = Check::default();
        Policy { shortest }.judge(&mut check, "/password", &Secret::new(password.to_owned()), context);
        match check.done() {
            Ok(()) => None,
            Err(Error::Refused(problem)) => Some(problem.case().errors[0].code),
            Err(Error::Broken(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn the_list_is_as_it_says() {
        assert!(COMMON.is_sorted() && COMMON.windows(2).all(|two| two[0] != two[1]));
        assert!(
            COMMON
                .iter()
                .all(|word| word.to_lowercase() == *word && !word.contains(' '))
        );
        assert!(COMMON.iter().filter(|word| word.chars().count() >= 8).count() > 3_000);
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(verdict(15, "vierzehnZeich.", &[]), Some(FieldCode::TooShort));
        assert_eq!(verdict(15, "fünfzehnZeichen", &[]), None);
        let long: String = (0..129_u32).filter_map(|n| char::from_u32(0x4e00 + n * 7)).collect();
        assert_eq!(verdict(15, &long, &[]), Some(FieldCode::TooLong));
        assert_eq!(verdict(15, &long.chars().take(128).collect::<String>(), &[]), None);
    }

    #[test]
    fn what_anybody_would_try_first_is_refused() {
        for password in [
            "password",
            "PassWord1234567",
            "P@ssw0rd2024!!!",
            "passwordpassword",
            "password password",
            "qwerty-qwerty qwerty",
            "p a s s w o r d p a s s",
            "d r a g o n m o n k e y",
            "P4ssw0rd-F00tball",
            "correct horse battery staple",
            "correcthorsebatterystaple",
            "iloveyouforever",
            "qwertyuiopasdfgh",
            "poiuytrewq",
            "1234567890123456",
            "9876543210",
            "abcdefghijklmnop",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabc",
            "1qaz2wsx3edc4rfv",
            "!!!!football2024",
            "Tr0ub4dor",
        ] {
            let expected = (password != "Tr0ub4dor").then_some(FieldCode::InvalidChoice);
            assert_eq!(verdict(8, password, &[]), expected, "{password}");
        }
    }

    #[test]
    fn what_is_made_of_the_account_is_refused() {
        let ada = ["ada.lovelace@example.com", "Ada Lovelace", "Analytical Engines"];
        for password in [
            "adalovelace1815",
            "Lovelace-Ada-1815",
            "analyticalengines!",
            "Guildhall2026!!",
            "L0vel4ce_1234567",
            "ada@example.com!",
        ] {
            assert_eq!(verdict(8, password, &ada), Some(FieldCode::ConflictsWith), "{password}");
        }
        for password in [
            "lovelace likes turtles",
            "the analytical difference",
            "guildhall of forty merchants",
        ] {
            assert_eq!(verdict(15, password, &ada), None, "{password}");
        }
    }

    #[test]
    fn a_long_phrase_is_welcome_whatever_it_is_made_of() {
        for password in [
            "seven green lamps hum",
            "Wer reitet so spät",
            "мама мыла раму в воскресенье",
            "4f9a-27bc-d01e-88ff",
            "密码不是一个好的密码选择,真的不是",
        ] {
            assert_eq!(verdict(15, password, &[]), None, "{password}");
        }
    }
}
