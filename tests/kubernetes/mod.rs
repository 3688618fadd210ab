//! A control plane for a test. In: what is wanted. Out: a running one that ends with its value, or none where its programs
//! are not there, which is an error where `CI=true`.

use std::path::Path;

use perouter_lab::kubernetes::{Assets, ControlPlane, Options};

/// Starts it; `None` where the programs are missing, with the reason on standard error.
#[must_use]
pub fn control_plane(options: Options) -> Option<ControlPlane> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    match Assets::control_plane(root) {
        Ok(assets) => Some(ControlPlane::start(assets, options).unwrap()),
        Err(reason) => {
            eprintln!("left out: {reason}");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
            None
        }
    }
}
