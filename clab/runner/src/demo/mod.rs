//! The demo: a `MetalLB` service of the red VNI behind an EVPN fabric, shown step by step.
//!
//! In: paths of files and programs. Out: lines on a console, and a lab that is destroyed or kept. It must not prove anything
//! by itself: each step queries FRR or runs curl in a node.
//!
//! ```text
//! run ─▶ directory | kubernetes (installation) ─▶ checks (sessions, routes, traffic)
//!        all of them use context (the lab so far), settings, error
//! ```

mod checks;
mod console;
mod context;
mod directory;
mod error;
mod kubernetes;
mod run;
mod settings;

pub use console::Console;
pub use error::{DemoError, StepError};
pub use run::down;
pub use settings::{Demo, Source};
