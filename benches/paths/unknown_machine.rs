//! In place of `machine.rs` where there is no /proc: nothing is known of what the machine does meanwhile.

use anyhow::{Result, bail};

/// CPU time up to an instant: not known.
pub struct Usage;

/// What was used between two instants.
pub struct Spent {
    pub server: f64,
    pub children: f64,
    pub others: f64,
}

impl Usage {
    pub fn now() -> Result<Usage> {
        Ok(Usage)
    }

    pub fn since(&self, _before: &Usage, _server: i32) -> Spent {
        Spent {
            server: f64::NAN,
            children: f64::NAN,
            others: 0.0,
        }
    }
}

pub fn resident(_pid: i32) -> Result<(f64, f64)> {
    bail!("memory is only measured on Linux")
}

pub fn described() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{cores} cores, {} {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}
