//! kubectl with a kubeconfig.
//!
//! In: words, and documents to apply. Out: what kubectl said and how it ended. It must not interpret the answer.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{KubernetesError, Place, at};
use crate::node::Output;

/// kubectl of one user.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) place: Place,
}

impl Kubectl {
    /// The user's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it to its end; an exit code other than 0 is no error.
    pub fn run(&self, words: &[&str]) -> Result<Output, KubernetesError> {
        match &self.place {
            Place::Node { node, .. } => Ok(node.run(&self.words(words))?),
            Place::Machine => self.on_machine(words, None),
        }
    }

    /// Runs it; it has to end with 0. Gives its standard output.
    pub fn check(&self, words: &[&str]) -> Result<String, KubernetesError> {
        good(words, self.run(words)?)
    }

    /// Like [`Kubectl::run`] with documents on its standard input: give `-f -` among the words.
    pub fn feed(&self, words: &[&str], documents: &str) -> Result<Output, KubernetesError> {
        match &self.place {
            Place::Machine => self.on_machine(words, Some(documents)),
            Place::Node { node, .. } => {
                let mut file = tempfile::NamedTempFile::new().map_err(at("a temporary file"))?;
                file.write_all(documents.as_bytes()).map_err(at(file.path()))?;
                let path = file.path().to_string_lossy().into_owned();
                let words: Vec<&str> = words.iter().map(|word| if *word == "-" { &*path } else { word }).collect();
                Ok(node.run(&self.words(&words))?)
            }
        }
    }

    /// Applies documents on the server's side; all of them have to be taken. Gives what kubectl said, warnings included.
    pub fn apply(&self, documents: &str) -> Result<String, KubernetesError> {
        let words = ["apply", "--server-side", "-f", "-"];
        let output = self.feed(&words, documents)?;
        let warnings = output.stderr.clone();
        Ok(good(&words, output)? + &warnings)
    }

    /// Like [`Kubectl::feed`], and it has to end with 0.
    pub fn feed_good(&self, words: &[&str], documents: &str) -> Result<String, KubernetesError> {
        good(words, self.feed(words, documents)?)
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        let mut all = vec![program, "--kubeconfig".to_owned(), self.kubeconfig.to_string_lossy().into_owned()];
        all.extend(words.iter().map(|&word| word.to_owned()));
        all
    }

    fn on_machine(&self, words: &[&str], documents: Option<&str>) -> Result<Output, KubernetesError> {
        let all = self.words(words);
        let start = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&all[1..]).env("NO_PROXY", "*").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if documents.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().map_err(at(&self.program))?;
        if let (Some(mut stdin), Some(documents)) = (child.stdin.take(), documents) {
            // kubectl reads all of it before it writes anything.
            stdin.write_all(documents.as_bytes()).map_err(at(&self.program))?;
        }
        let output = child.wait_with_output().map_err(at(&self.program))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ok(Output { code: output.status.code(), stdout, stderr, took: start.elapsed() })
    }
}

fn good(words: &[&str], output: Output) -> Result<String, KubernetesError> {
    if output.success() {
        return Ok(output.stdout);
    }
    Err(KubernetesError::Failed {
        command: format!("kubectl {}", words.join(" ")),
        code: output.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string()),
        said: format!("{}{}", output.stdout, output.stderr).trim().to_owned(),
    })
}
