//! Whether bgpd is in a graceful restart (RFC 4724). In: the JSON of [`SHOW_ROUTER`]. Out: whether it is complete. Pure.

use serde_json::Value;

/// bgpd: how it was started, and whether a graceful restart is complete.
pub const SHOW_ROUTER: &str = "show bgp router json";

/// Whether bgpd was started for a graceful restart that is not complete: it advertises nothing.
pub fn is_in_progress(text: &str) -> bool {
    let found: Value = serde_json::from_str(text).unwrap_or_default();
    found["bgpStartedGracefully"] == Value::Bool(true) && found["grComplete"] == Value::Bool(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bgpd_that_restarts_gracefully_waits_until_that_is_complete() {
        let plain = r#"{"bgpStartedAt":1,"bgpStartedGracefully":false,"bgpInMaintenanceMode":false}"#;
        let waits = r#"{"bgpStartedAt":1,"bgpStartedGracefully":true,"grComplete":false}"#;
        let done = r#"{"bgpStartedAt":1,"bgpStartedGracefully":true,"grComplete":true,"grCompletedAt":2}"#;
        assert_eq!([plain, waits, done, "% Unknown command"].map(is_in_progress), [false, true, false, false]);
    }
}
