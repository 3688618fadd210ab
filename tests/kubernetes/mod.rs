//! A control plane for a test. In: its options. Out: a running one that stops when the value is dropped, or none where its programs
//! are not built, which is an error where `CI=true`.

use std::path::Path;

use perouter_lab::kubernetes::{Assets, ControlPlane, Options};

/// Starts a control plane; `None` where its programs are not built, with the reason on standard error.
#[must_use]
pub fn control_plane(options: Options) -> Option<ControlPlane> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match Assets::control_plane(root) {
        Ok(assets) => Some(ControlPlane::start(assets, options).unwrap()),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
            None
        }
    }
}
