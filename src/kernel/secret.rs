//! Values that must not be seen: no `Debug`, no `Display`, no `Serialize`; comparing takes the same time whatever differs; the memory is
//! overwritten when they go.

mod token;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroize;

pub use token::{SCANNER, Token, TokenKind};

/// A value that cannot be printed. Reading it takes [`Secret::expose`], which is easy to search for.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value itself.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Secret<T>) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_ref(), other.0.as_ref()).is_ok()
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole() {
        let secret = |text: &str| Secret::new(text.to_owned());
        assert!(secret("the same") == secret("the same"));
        assert!(secret("the same") != secret("the Same"));
        assert!(secret("the same") != secret("the same and more"));
    }
}
