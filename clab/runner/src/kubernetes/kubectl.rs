//! kubectl with a kubeconfig.
//!
//! In: arguments, and documents for its standard input. Out: its output and exit code. It must not interpret the output.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::error::{KubernetesError, at};
use super::placement::Placement;
use crate::node::CommandOutput;

/// kubectl of one user.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) placement: Placement,
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

    /// Runs it until it exits; an exit code other than 0 is not an error.
    pub fn run(&self, words: &[&str]) -> Result<CommandOutput, KubernetesError> {
        match &self.placement {
            Placement::Node { node, .. } => Ok(node.run(&self.words(words))?),
            Placement::Machine => self.on_machine(words, None),
        }
    }

    /// Runs it and returns its standard output; the exit code has to be 0.
    pub fn check(&self, words: &[&str]) -> Result<String, KubernetesError> {
        successful(words, self.run(words)?)
    }

    /// Like [`Kubectl::run`] with documents on its standard input: `-f -` has to be among the arguments.
    pub fn run_with_input(&self, words: &[&str], documents: &str) -> Result<CommandOutput, KubernetesError> {
        match &self.placement {
            Placement::Machine => self.on_machine(words, Some(documents)),
            Placement::Node { node, .. } => {
                let mut file = tempfile::NamedTempFile::new().map_err(at("a temporary file"))?;
                file.write_all(documents.as_bytes()).map_err(at(file.path()))?;
                let path = file.path().to_string_lossy().into_owned();
                let words: Vec<&str> = words.iter().map(|word| if *word == "-" { &*path } else { word }).collect();
                Ok(node.run(&self.words(&words))?)
            }
        }
    }

    /// Applies documents server-side; all of them have to be accepted. Returns the output of kubectl with its warnings.
    pub fn apply(&self, documents: &str) -> Result<String, KubernetesError> {
        let words = ["apply", "--server-side", "-f", "-"];
        let output = self.run_with_input(&words, documents)?;
        let warnings = output.stderr.clone();
        Ok(successful(&words, output)? + &warnings)
    }

    /// Like [`Kubectl::run_with_input`]; the exit code has to be 0.
    pub fn check_with_input(&self, words: &[&str], documents: &str) -> Result<String, KubernetesError> {
        successful(words, self.run_with_input(words, documents)?)
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        let mut all = vec![program, "--kubeconfig".to_owned(), self.kubeconfig.to_string_lossy().into_owned()];
        all.extend(words.iter().map(|&word| word.to_owned()));
        all
    }

    fn on_machine(&self, words: &[&str], documents: Option<&str>) -> Result<CommandOutput, KubernetesError> {
        let all = self.words(words);
        let start = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&all[1..]).env("NO_PROXY", "*").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if documents.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().map_err(at(&self.program))?;
        if let (Some(mut stdin), Some(documents)) = (child.stdin.take(), documents) {
            // kubectl reads all of its input before it writes anything.
            stdin.write_all(documents.as_bytes()).map_err(at(&self.program))?;
        }
        let output = child.wait_with_output().map_err(at(&self.program))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Ok(CommandOutput { code: output.status.code(), stdout, stderr, took: start.elapsed() })
    }
}

fn successful(words: &[&str], output: CommandOutput) -> Result<String, KubernetesError> {
    if output.success() {
        return Ok(output.stdout);
    }
    Err(KubernetesError::Failed {
        command: format!("kubectl {}", words.join(" ")),
        code: output.code_text(),
        output: output.text(),
    })
}
