//! A fake kube-proxy of a lab's cluster nodes: a service with an address answers on every node while it has an endpoint.
//!
//! In: Services and `EndpointSlices` as the API server lists them. Out: the address on `lo`, and a web server in place of
//! the Pods behind it. It must not choose an address: `MetalLB` does.

use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::error::{KubernetesError, at};
use super::kubelet::Member;
use crate::metallb::host_prefix;
use crate::node::Background;
use crate::web::{self, Page, Server};

/// kube-proxy of all cluster nodes.
#[derive(Debug)]
pub struct Proxy {
    /// The program with the subcommand `web`, if web servers are to be processes.
    program: Option<PathBuf>,
    served: BTreeMap<(usize, IpAddr), Backend>,
}

/// The web server in place of the Pods of a service on one node.
#[derive(Debug)]
enum Backend {
    Process(Background),
    Thread { _server: Server },
}

/// A service that can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reachable {
    name: String,
    address: IpAddr,
    port: u16,
}

impl Proxy {
    pub(super) fn new(program: Option<PathBuf>) -> Self {
        Self { program, served: BTreeMap::new() }
    }

    /// Serves exactly the services of the lists on every node.
    pub(super) fn sync(&mut self, members: &[Member], objects: &[Value]) -> Result<(), KubernetesError> {
        let wanted = reachable(objects);
        let gone = |(_, address): &&(usize, IpAddr)| !wanted.iter().any(|service| service.address == *address);
        for key in self.served.keys().filter(gone).copied().collect::<Vec<_>>() {
            if let Some(backend) = self.served.remove(&key) {
                if let Backend::Process(mut server) = backend {
                    server.kill().map_err(at(server.log()))?;
                }
                members[key.0].node.check(&["ip", "address", "del", &host_prefix(key.1).to_string(), "dev", "lo"])?;
            }
        }
        for service in &wanted {
            for (index, member) in members.iter().enumerate() {
                if !self.served.contains_key(&(index, service.address)) {
                    let server = self.serve(member, service)?;
                    self.served.insert((index, service.address), server);
                }
            }
        }
        Ok(())
    }

    pub(super) fn serves(&self, address: IpAddr) -> bool {
        self.served.keys().any(|(_, served)| *served == address)
    }

    fn serve(&self, member: &Member, service: &Reachable) -> Result<Backend, KubernetesError> {
        let (node, prefix) = (&member.node, host_prefix(service.address).to_string());
        node.check(&["ip", "address", "replace", &prefix, "dev", "lo"])?;
        let listen = SocketAddr::new(service.address, service.port);
        let page = Page { service: service.name.clone(), node: node.name().to_string() };
        let Some(program) = &self.program else {
            return Ok(Backend::Thread { _server: Server::start(node, listen, page)? });
        };
        Ok(Backend::Process(web::spawn(node, program, listen, &page)?))
    }
}

/// Services of type `LoadBalancer` with an address and a ready endpoint.
fn reachable(objects: &[Value]) -> Vec<Reachable> {
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let has_endpoint = |service: &Value| {
        of_kind("EndpointSlice").any(|slice| {
            let labels = &slice["metadata"]["labels"];
            let mine = slice["metadata"]["namespace"] == service["metadata"]["namespace"]
                && labels["kubernetes.io/service-name"] == service["metadata"]["name"];
            let mut endpoints = slice["endpoints"].as_array().into_iter().flatten();
            mine && endpoints.any(|endpoint| endpoint["conditions"]["ready"] == true)
        })
    };
    let services = of_kind("Service").filter(|service| service["spec"]["type"] == "LoadBalancer");
    let found = services.filter(|service| has_endpoint(service)).flat_map(|service| {
        let addresses = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        addresses.filter_map(|ingress| {
            Some(Reachable {
                name: service["metadata"]["name"].as_str()?.to_owned(),
                address: ingress["ip"].as_str()?.parse().ok()?,
                port: u16::try_from(service["spec"]["ports"][0]["port"].as_u64()?).ok()?,
            })
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(kind: &str) -> Value {
        json!({
            "kind": "Service", "metadata": {"namespace": "default", "name": "red"},
            "spec": {"type": kind, "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "172.30.0.10"}]}},
        })
    }

    fn slice(namespace: &str, ready: bool) -> Value {
        json!({
            "kind": "EndpointSlice",
            "metadata": {"namespace": namespace, "name": "red-x", "labels": {"kubernetes.io/service-name": "red"}},
            "endpoints": [{"addresses": ["10.244.0.1"], "conditions": {"ready": ready}}],
        })
    }

    #[test]
    fn a_service_is_reachable_with_an_address_and_a_ready_endpoint() {
        let red = Reachable { name: "red".into(), address: "172.30.0.10".parse().unwrap(), port: 80 };
        let mut without_address = service("LoadBalancer");
        without_address["status"] = json!({});
        let table = [
            (vec![service("LoadBalancer"), slice("default", true)], vec![red]),
            (vec![service("LoadBalancer"), slice("default", false)], vec![]),
            (vec![service("LoadBalancer"), slice("other", true)], vec![]),
            (vec![service("ClusterIP"), slice("default", true)], vec![]),
            (vec![without_address, slice("default", true)], vec![]),
            (vec![service("LoadBalancer")], vec![]),
        ];
        for (objects, wanted) in table {
            assert_eq!(reachable(&objects), wanted, "{objects:#?}");
        }
    }
}
