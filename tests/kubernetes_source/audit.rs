//! The requests of the controller, from the audit log of the API server.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::rights::{Right, right};

pub(crate) struct Audit {
    dir: tempfile::TempDir,
}

impl Audit {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rule = json!({ "level": "Metadata", "users": ["system:serviceaccount:openperouter-system:controller"] });
        let policy = json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule] });
        fs::write(dir.path().join("policy.yaml"), policy.to_string()).unwrap();
        Self { dir }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    /// Flags of kube-apiserver.
    pub(crate) fn flags(&self) -> [String; 2] {
        let policy = self.dir.path().join("policy.yaml");
        [format!("--audit-policy-file={}", policy.display()), format!("--audit-log-path={}", self.log().display())]
    }

    /// Requests in the order in which the server received them.
    fn requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.log()).unwrap();
        // The last line may be incomplete.
        let mut requests: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut seen = BTreeSet::new();
        requests.retain(|request| seen.insert(request["auditID"].to_string()));
        requests
    }

    /// Number of requests with a verb on a resource.
    pub(crate) fn count(&self, verb: &str, resource: &str) -> usize {
        let wanted = |request: &&Value| request["verb"] == verb && request["objectRef"]["resource"] == resource;
        self.requests().iter().filter(wanted).count()
    }

    /// The rights that were used.
    pub(crate) fn used(&self) -> BTreeSet<Right> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let requests = self.requests();
        let object = |request: &&Value| request["objectRef"]["resource"].is_string();
        let used = requests.iter().filter(object).map(|request| {
            let on = &request["objectRef"];
            let resource = match on["subresource"].as_str() {
                Some(part) => format!("{}/{part}", text(&on["resource"])),
                None => text(&on["resource"]),
            };
            right(&text(&request["verb"]), &text(&on["apiGroup"]), &resource, &text(&on["namespace"]))
        });
        used.collect()
    }

    /// The requests that the server rejected as forbidden.
    pub(crate) fn forbidden(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.log()).unwrap();
        let all = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|request| request["responseStatus"]["code"] == 403).collect()
    }
}
