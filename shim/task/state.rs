//! The states of a process and the moves between them.

use containerd_shim_protos::types::task::Status;
use thiserror::Error;

/// State of an init or exec process. Source: runtime-spec "Lifecycle", and containerd's task states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// An init process that waits for start, or an exec that was added.
    Created,
    /// Its program runs.
    Running,
    /// Its cgroup is frozen.
    Paused,
    /// It has ended.
    Stopped,
}

/// A move that the present state does not allow.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("cannot {verb} a {} process", state.name())]
pub struct IllegalMove {
    verb: &'static str,
    state: TaskState,
}

impl TaskState {
    /// As errors name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// As the task API has it.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Created => Status::CREATED,
            Self::Running => Status::RUNNING,
            Self::Paused => Status::PAUSED,
            Self::Stopped => Status::STOPPED,
        }
    }

    fn only(self, allowed: &[Self], verb: &'static str) -> Result<(), IllegalMove> {
        if allowed.contains(&self) { Ok(()) } else { Err(IllegalMove { verb, state: self }) }
    }

    /// Whether `start` is allowed.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`], as for each of these.
    pub fn may_start(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Created], "start")
    }

    /// Whether `delete` is allowed: an init process that was never started can be deleted, since its
    /// container holds resources.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_delete(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Created, Self::Stopped], "delete")
    }

    /// Whether `pause` is allowed.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_pause(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Running], "pause")
    }

    /// Whether `resume` is allowed.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_resume(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Paused], "resume")
    }

    /// Whether a process can be added to the container of this init process.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_exec(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Created, Self::Running], "exec in")
    }

    /// Whether an added process can be started in the container of this init process.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_start_exec(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Running], "start an exec in")
    }

    /// Whether there is a process to signal: an exec that was added and not started has none.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_kill_exec(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Running, Self::Paused, Self::Stopped], "kill")
    }

    /// Whether limits can be changed.
    ///
    /// # Errors
    ///
    /// [`IllegalMove`].
    pub fn may_update(self) -> Result<(), IllegalMove> {
        self.only(&[Self::Created, Self::Running, Self::Paused], "update")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskState::{Created, Paused, Running, Stopped};

    #[test]
    fn each_verb_has_its_states() {
        type Verb = fn(TaskState) -> Result<(), IllegalMove>;
        let table: [(Verb, &[TaskState]); 8] = [
            (TaskState::may_start, &[Created]),
            (TaskState::may_delete, &[Created, Stopped]),
            (TaskState::may_pause, &[Running]),
            (TaskState::may_resume, &[Paused]),
            (TaskState::may_exec, &[Created, Running]),
            (TaskState::may_start_exec, &[Running]),
            (TaskState::may_kill_exec, &[Running, Paused, Stopped]),
            (TaskState::may_update, &[Created, Running, Paused]),
        ];
        for (verb, allowed) in table {
            for state in [Created, Running, Paused, Stopped] {
                assert_eq!(verb(state).is_ok(), allowed.contains(&state), "{state:?}: {:?}", verb(state));
            }
        }
    }

    #[test]
    fn a_refusal_names_verb_and_state() {
        assert_eq!(Stopped.may_start().unwrap_err().to_string(), "cannot start a stopped process");
    }
}
