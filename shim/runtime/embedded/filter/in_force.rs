//! Whether a filter that was loaded is in force: by the answer to a call that it decides about.
//!
//! prctl(PR_GET_SECCOMP) tells of a filter where the filter lets it run. Where it is refused, the refusal itself is the proof: without the
//! filter the call succeeds. Where it would kill, or ask a listener, nothing can be asked; the shim looks at the process right after.

use palisade_seccomp::{Call, CompiledFilter, Target, Verdict};

use super::{Filter, FilterError};
use crate::unsafe_syscalls;

/// SECCOMP_MODE_FILTER.
const FILTERED: i64 = 2;

impl Filter {
    /// Asks the kernel. `asks`: another than this thread answers what the filter refuses.
    ///
    /// # Errors
    ///
    /// [`FilterError::NotInForce`].
    pub(in super::super) fn verify(&self, asks: bool) -> Result<(), FilterError> {
        let wanted = self.0.as_ref().map_or(Some(0), |compiled| wanted(compiled, asks));
        let Some(wanted) = wanted else { return Ok(()) };
        match unsafe_syscalls::seccomp_mode() {
            found if found == wanted => Ok(()),
            // A shim that has a filter itself gives it to all.
            FILTERED if wanted == 0 => Ok(()),
            found => Err(FilterError::NotInForce { found, wanted }),
        }
    }
}

fn wanted(compiled: &CompiledFilter, asks: bool) -> Option<i64> {
    let target = Target::native().ok()?;
    let number = u32::try_from(libc::SYS_prctl).ok()?;
    let option = u64::try_from(libc::PR_GET_SECCOMP).ok()?;
    let call = Call { architecture: target.audit(), number, arguments: [option, 0, 0, 0, 0, 0] };
    match compiled.answer(&call)?.verdict {
        Verdict::Allow if !asks => Some(FILTERED),
        Verdict::Errno(errno) if !asks => Some(-i64::from(errno)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(json: &str) -> Filter {
        Filter::compile(Some(&serde_json::from_str(json).unwrap())).unwrap()
    }

    /// Each in a thread of its own, which takes its filter along.
    fn in_thread(work: impl FnOnce() -> Result<(), FilterError> + Send + 'static) -> Result<(), FilterError> {
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            work()
        });
        thread.join().unwrap()
    }

    const REFUSES: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["prctl"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#;
    const ALLOWS: &str =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["ptrace"],"action":"SCMP_ACT_ERRNO"}]}"#;
    const KILLS: &str =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["prctl"],"action":"SCMP_ACT_KILL_THREAD"}]}"#;

    #[test]
    fn a_loaded_filter_is_in_force() {
        for profile in [REFUSES, ALLOWS, KILLS] {
            in_thread(move || {
                filter(profile).load()?;
                filter(profile).verify(false)
            })
            .unwrap();
        }
    }

    #[test]
    fn one_that_was_not_loaded_is_noticed() {
        for (profile, wanted) in [(REFUSES, -95), (ALLOWS, 2)] {
            let error = in_thread(move || filter(profile).verify(false)).unwrap_err();
            assert!(matches!(error, FilterError::NotInForce { found: 0, wanted: told } if told == wanted), "{error}");
        }
        // Another filter than the decided one.
        let error = in_thread(|| {
            filter(ALLOWS).load()?;
            filter(REFUSES).verify(false)
        });
        assert!(matches!(error, Err(FilterError::NotInForce { found: 2, wanted: -95 })), "{error:?}");
    }

    #[test]
    fn what_another_answers_is_not_asked() {
        in_thread(|| filter(REFUSES).verify(true)).unwrap();
        in_thread(|| Filter::compile(None)?.verify(false)).unwrap();
    }
}
