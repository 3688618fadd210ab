//! Lab runner.
