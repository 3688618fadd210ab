//! The exit status of every subcommand. In: what a command found. Out: a number, as the table in `docs/operations/checks.md` has it.
//! An error that a command returns is [`ExitStatus::CannotKnow`].

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done, and nothing is wrong.
    Ok,
    /// It found a problem.
    Problem,
    /// Wrong usage, or what it needs to know is not there.
    CannotKnow,
    /// `perouter plan`: there are changes.
    Changes,
}

impl ExitStatus {
    /// [`ExitStatus::Problem`] if there is one.
    pub fn of_problem(has_problem: bool) -> Self {
        if has_problem { Self::Problem } else { Self::Ok }
    }

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Problem => 1,
            Self::CannotKnow => 2,
            Self::Changes => 3,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
