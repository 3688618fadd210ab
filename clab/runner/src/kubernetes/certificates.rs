//! Keys and certificates of one control plane.
//!
//! In: a folder and the API server's addresses. Out: `ca.crt`, `server.crt`, `server.key`, `service-account.key` in it.
//! They are created for each control plane and valid for two days. It must not write outside the folder.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::error::{KubernetesError, at};

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

pub(super) fn create(folder: &Path, addresses: &[IpAddr]) -> Result<(), KubernetesError> {
    let mut names = "subjectAltName=DNS:kubernetes.default.svc".to_owned();
    for address in addresses {
        let _ = write!(names, ",IP:{address}");
    }
    let authority = ["-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2"];
    openssl(folder, &[&["req", "-x509"], &NEW_KEY[..], &authority].concat())?;
    let server = [
        &["-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/CN=kube-apiserver", "-days", "2"][..],
        &["-keyout", "server.key", "-out", "server.crt", "-addext", &names],
        &["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"],
    ];
    openssl(folder, &[&["req", "-x509"], &NEW_KEY[..], &server.concat()].concat())?;
    // kube-apiserver reads the public key from the SEC 1 form, not from PKCS #8.
    let key = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-account.key"];
    openssl(folder, &key)
}

fn openssl(folder: &Path, words: &[&str]) -> Result<(), KubernetesError> {
    let output = Command::new("openssl").args(words).current_dir(folder).output().map_err(at("openssl"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(KubernetesError::Failed {
        command: format!("openssl {}", words.join(" ")),
        code: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
