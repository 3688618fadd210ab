//! Rotation of the TCP MD5 password of a host session: first at the router, then at the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::fixture::{Fixture, RED, Setup, until_true};
use super::l3vni_edits::BlueMonitor;

fn write_secret(fixture: &Fixture, password: &str) {
    let file = fixture.path("secrets/host-bgp/red");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let temporary = fixture.path("secrets/.red");
    fs::write(&temporary, password).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&temporary, &file).unwrap();
}

fn configure_host(fixture: &Fixture, password: &str) {
    let line = format!("neighbor 192.169.10.1 password {password}");
    fixture.hosts[0].vtysh(&["configure terminal", "router bgp 64515", &line]).unwrap();
}

#[test]
fn a_rotated_password_affects_only_its_own_session() {
    let secret = "  hostSession:\n    passwordSecret: {name: host-bgp, key: red}\n";
    let Some(mut fixture) = Fixture::deploy("rotation", &[0], &Setup::example().with("red.yaml", secret)) else {
        return;
    };
    write_secret(&fixture, "first-of-two");
    fixture.router().start();
    fixture.start_hosts();
    configure_host(&fixture, "first-of-two");
    fixture.await_services();
    let blue = BlueMonitor::start(&mut fixture);

    write_secret(&fixture, "second-of-two");
    fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    let words = "another TCP MD5 password";
    until_true("the cause in `perouter sessions`", || {
        fixture.router().perouter(&["sessions", "red"]).stdout.contains(words)
    });
    let router = fixture.router();
    assert!(router.perouter(&["status"]).stdout.contains(words));
    let json = router.perouter(&["sessions", "red", "-o", "json"]).stdout;
    let sessions: serde_json::Value = serde_json::from_str(&json).unwrap();
    let cause = sessions["items"][0]["cause"].as_str().unwrap();
    println!("cause: {cause}");
    assert!(cause.contains(words) && cause.contains("192.169.10.2"), "{cause}");
    assert!(!router.perouter(&["sessions", "blue"]).stdout.contains(words), "reported for blue, which is established");

    configure_host(&fixture, "second-of-two");
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&format!("{RED}/32"), 100);
    until_true("no cause", || !fixture.router().perouter(&["status"]).stdout.contains(words));
    let shown = [fixture.router().perouter(&["status", "-o", "json"]).stdout, json];
    assert!(shown.iter().all(|text| !text.contains("first-of-two") && !text.contains("second-of-two")), "{shown:#?}");
    assert_bundle_without(&fixture, &["first-of-two", "second-of-two"]);
    blue.assert_undisturbed(&mut fixture);
}

/// An archive for support has everything but the passwords.
fn assert_bundle_without(fixture: &Fixture, passwords: &[&str]) {
    let router = &fixture.routers[0];
    // The node has a `/run` of its own.
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("bundle.tar.gz").display().to_string();
    let written = router.perouter(&["bundle", &archive]);
    assert!(written.success(), "{written:?}");
    let names = router.node.check(&["tar", "-tzf", &archive]).unwrap();
    let kernel = ["kernel.txt", "kernel/router/link.txt", "kernel/host/route.txt"];
    for name in
        ["status.json", "frr/bgpd.conf", "frr/neighbors.json", "check.json", "log/bgpd.log"].iter().chain(&kernel)
    {
        assert!(names.lines().any(|line| line.ends_with(name)), "no {name} in\n{names}");
    }
    let text = router.node.check(&["tar", "-xOzf", &archive]).unwrap();
    assert!(text.contains("password ********") && text.contains(": link add "), "{text}");
    for password in passwords {
        assert!(!text.contains(password), "{password} is in the archive");
    }
}
