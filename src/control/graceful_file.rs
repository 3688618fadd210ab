//! Whether graceful restart is configured, for whoever starts bgpd: it has to know before bgpd has a configuration. In: a plan.
//! Out: a file that exists or not.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::plan::Plan;

/// Creates or removes the file, where it is not as the plan wants it.
///
/// # Errors
/// Those of `open(2)` and `unlink(2)`.
pub(super) fn record(path: &Path, plan: &Plan) -> io::Result<()> {
    let is_wanted = plan.frr.underlay.as_ref().is_some_and(|underlay| underlay.graceful_restart.is_some());
    match (is_wanted, path.exists()) {
        (true, false) => OpenOptions::new().append(true).create(true).open(path).map(drop),
        (false, true) => fs::remove_file(path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::model::GracefulRestart;
    use crate::plan::plan;
    use crate::plan::tests::{facts, snapshot};

    #[test]
    fn the_file_exists_while_the_fabric_sessions_have_graceful_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("graceful-restart");
        let mut plan = plan(&snapshot(vec![]), &facts());
        for wanted in [false, true, true, false, false] {
            let underlay = plan.frr.underlay.as_mut().unwrap();
            underlay.graceful_restart = wanted.then(GracefulRestart::default);
            record(&path, &plan).unwrap();
            assert_eq!(path.exists(), wanted);
        }
    }
}
