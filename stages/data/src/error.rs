//! How a stage fails: what happened, what to do next, and the exit code that tells the runner.

use rematch_spec::job::{Failure, exit};
use rematch_spec::kind::Invalid;

use crate::fs;

/// Why a stage did not finish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// It failed; trying again would fail alike.
    #[error("{message}")]
    Failed {
        /// What went wrong, and where.
        message: String,
        /// What to do next.
        help: Option<String>,
    },
    /// The job file or the parameters cannot be used.
    #[error("{message}")]
    Usage {
        /// What is wrong with them.
        message: String,
        /// What would be right.
        help: Option<String>,
    },
    /// A loss was NaN or infinite.
    #[error("{message}")]
    Diverged {
        /// Which loss, and at which step.
        message: String,
        /// What to do next.
        help: Option<String>,
    },
    /// Out of memory, on the device or the host.
    #[error("{message}")]
    OutOfMemory {
        /// What did not fit.
        message: String,
        /// What to do next.
        help: Option<String>,
    },
    /// It failed for a reason that may pass, such as the network.
    #[error("{message}")]
    TryAgain {
        /// What went wrong.
        message: String,
        /// What to do if it keeps failing.
        help: Option<String>,
    },
    /// The stage was told to stop.
    #[error("interrupted")]
    Interrupted,
}

impl StageError {
    /// A plain failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            help: None,
        }
    }

    /// A failure of the job file or the parameters.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            help: None,
        }
    }

    /// A loss that is no number any more.
    pub fn diverged(message: impl Into<String>) -> Self {
        Self::Diverged {
            message: message.into(),
            help: None,
        }
    }

    /// Something that did not fit into memory.
    pub fn out_of_memory(message: impl Into<String>) -> Self {
        Self::OutOfMemory {
            message: message.into(),
            help: None,
        }
    }

    /// A failure that may pass.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self::TryAgain {
            message: message.into(),
            help: None,
        }
    }

    /// The same error with a line that says what to do next.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        if let Self::Failed { help, .. }
        | Self::Usage { help, .. }
        | Self::Diverged { help, .. }
        | Self::OutOfMemory { help, .. }
        | Self::TryAgain { help, .. } = &mut self
        {
            *help = Some(line.into());
        }
        self
    }

    /// The exit code of [`exit`] that stands for this error.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Failed { .. } => exit::FAILED,
            Self::Usage { .. } => exit::USAGE,
            Self::Diverged { .. } => exit::DIVERGED,
            Self::OutOfMemory { .. } => exit::OUT_OF_MEMORY,
            Self::TryAgain { .. } => exit::TRY_AGAIN,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// The error as it stands in the report.
    pub fn failure(&self) -> Failure {
        let help = match self {
            Self::Failed { help, .. }
            | Self::Usage { help, .. }
            | Self::Diverged { help, .. }
            | Self::OutOfMemory { help, .. }
            | Self::TryAgain { help, .. } => help.clone(),
            Self::Interrupted => None,
        };
        Failure {
            message: self.to_string(),
            help,
        }
    }
}

impl From<fs::Error> for StageError {
    fn from(error: fs::Error) -> Self {
        let help = error.help();
        Self::Failed {
            message: error.to_string(),
            help,
        }
    }
}

impl From<Failure> for StageError {
    fn from(failure: Failure) -> Self {
        Self::Failed {
            message: failure.message,
            help: failure.help,
        }
    }
}

impl From<Invalid> for StageError {
    fn from(invalid: Invalid) -> Self {
        let message = if invalid.path.is_empty() {
            invalid.message
        } else {
            format!("{}: {}", invalid.path, invalid.message)
        };
        Self::Usage {
            message,
            help: None,
        }
    }
}
