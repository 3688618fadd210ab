use std::path::Path;

use super::*;

#[test]
fn files_in_step_with_the_types() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let rewrite = std::env::var_os("PEROUTER_UPDATE").is_some_and(|v| v == "1");
    for (name, text) in crds().unwrap() {
        let path = dir.join(name);
        if rewrite {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap();
        assert!(there == text, "{} is not what the types say: run with PEROUTER_UPDATE=1", path.display());
    }
}
