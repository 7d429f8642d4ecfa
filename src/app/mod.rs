//! Floor 3: wiring.
