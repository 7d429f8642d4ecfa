//! Holes that are opened on purpose, to see whether the isolation suite falls into them. Only a build with feature `lab` has any, and at
//! most one is open in a process: the one that `GUILDHALL_LEAK` names.

/// True while the hole of that name is open. Stands where a mistake would be easy to make.
#[macro_export]
macro_rules! leak {
    ($name:literal) => {
        $crate::kernel::leak::is_open($name)
    };
}

/// True while the hole of that name is open.
#[cfg(feature = "lab")]
pub fn is_open(name: &str) -> bool {
    use std::sync::LazyLock;
    static OPEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("GUILDHALL_LEAK").ok());
    OPEN.as_deref() == Some(name)
}

/// There are no holes.
#[cfg(not(feature = "lab"))]
pub const fn is_open(_: &str) -> bool {
    false
}
