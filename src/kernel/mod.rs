//! Floor 1: everything that exists before a workspace is known.
