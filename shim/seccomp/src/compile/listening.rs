//! Programs made of a compiled filter that ask a listener where the filter has an answer of its own: seccomp_unotify(2).
//!
//! The listener answers by the filter itself (see [`CompiledFilter::answer`]), so what becomes of a call is the same. Where nobody
//! listens any more, the kernel answers a call that would be asked about with ENOSYS: it does not run.
//!
//! Of two filters that ask about a call, the kernel asks the listener of the newer one, and lets a call run that it lets run. A process
//! cannot make a listener of its own while another filter of its has one (EBUSY). But it could as soon as the shim has died, and then
//! let run what is refused. So such a filter refuses new listeners itself, always with the kernel's errno.

use std::collections::BTreeSet;

use super::CompiledFilter;
use super::assemble::MAX_INSTRUCTIONS;
use super::instruction::{
    AND, ARCHITECTURE_OFFSET, Instruction, JUMP, JUMP_IF_EQUAL, LOAD, NUMBER_OFFSET, RETURN, argument_offsets,
};
use super::interpret::{Answer, Call, verdict_of};
use super::target::Target;
use crate::verdict::Verdict;

/// SECCOMP_RET_USER_NOTIF and SECCOMP_RET_ALLOW (linux/seccomp.h).
const ASK: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;

/// What a program falls back after, and may meet often: it is no refusal that anybody has to look at.
const ENOSYS: u16 = 38;

/// SECCOMP_RET_ERRNO with EBUSY, the kernel's answer to a second listener.
const BUSY: u32 = 0x0005_0010;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
const NEW_LISTENER: u32 = 1 << 3;
/// The argument of seccomp(2) that holds flags. The kernel takes its lower half.
const FLAGS_ARGUMENT: u32 = 1;

/// As many as the jumps over them can skip.
const MAX_UNASKED: usize = 240;

impl CompiledFilter {
    /// The filter that asks about each call that it refuses with an errno other than ENOSYS. All others get what they got: a call that
    /// runs is not slowed down, and one that kills does so at once. New listeners are refused. The filter itself where there is no
    /// room for that.
    #[must_use]
    pub fn reporting(&self) -> Self {
        let asking = self.asking(|verdict| matches!(verdict, Verdict::Errno(errno) if errno != ENOSYS));
        // Without a question there is no listener that another one could stand in for.
        if asking == *self { asking } else { asking.behind(self.guard()).unwrap_or_else(|| self.clone()) }
    }

    /// The filter that asks about each call that runs, to learn of it. What it refuses it refuses by itself, so that no answer of the
    /// listener decides about a call that may not run.
    ///
    /// Calls of the names in `unasked` are not asked about, where they run whatever their arguments. At most 240 are left out so.
    /// New listeners are refused. The filter itself where there is no room for that.
    #[must_use]
    pub fn recording(&self, unasked: &[&str]) -> Self {
        let asking = self.asking(Verdict::runs);
        let guard = self.guard();
        let quick = self.shortcut(unasked).and_then(|shortcut| asking.behind([guard.clone(), shortcut].concat()));
        quick.or_else(|| asking.behind(guard)).unwrap_or_else(|| self.clone())
    }

    /// `None` where there are no numbers to skip.
    fn shortcut(&self, unasked: &[&str]) -> Option<Vec<Instruction>> {
        let target = Target::native().ok()?;
        let numbers: BTreeSet<u32> = unasked.iter().filter_map(|name| target.number(name)).collect();
        let unasked: Vec<u32> =
            numbers.into_iter().filter(|number| self.always_runs(target.audit(), *number)).collect();
        Some(shortcut(target.audit(), &unasked))
    }

    /// Refuses new listeners where the filter would let some be made.
    fn guard(&self) -> Vec<Instruction> {
        let targets = Target::native().into_iter().chain(Target::others());
        let calls = targets.filter_map(|target| Some((target.audit(), target.number("seccomp")?)));
        calls.filter(|(architecture, number)| self.may_run(*architecture, *number)).flat_map(refuse_listener).collect()
    }

    fn asking(&self, about: impl Fn(Verdict) -> bool) -> Self {
        let asked = |step: &Instruction| match verdict_of(step.k) {
            Some(verdict) if step.code == RETURN && about(verdict) => Instruction { k: ASK, ..*step },
            _ => *step,
        };
        Self { program: self.program.iter().map(asked).collect(), flags: self.flags }
    }

    fn always_runs(&self, architecture: u32, number: u32) -> bool {
        let call = Call { architecture, number, arguments: [0; 6] };
        // Where no argument is looked at for one call, none is for any.
        self.answer(&call)
            .is_some_and(|Answer { verdict, looked_at }| verdict == Verdict::Allow && looked_at == [false; 6])
    }

    /// Whether a call runs with some arguments, as far as none at all tells.
    fn may_run(&self, architecture: u32, number: u32) -> bool {
        let answer = self.answer(&Call { architecture, number, arguments: [0; 6] });
        answer.is_none_or(|Answer { verdict, looked_at }| verdict.runs() || looked_at != [false; 6])
    }

    /// The same behind other instructions; `None` where both together would be too long.
    fn behind(&self, first: Vec<Instruction>) -> Option<Self> {
        let program = [first, self.program.clone()].concat();
        (program.len() <= MAX_INSTRUCTIONS).then_some(Self { program, flags: self.flags })
    }
}

/// Refuses this number of an architecture, that of seccomp(2), with the flag for a listener; skips to its own end with all else.
fn refuse_listener((architecture, number): (u32, u32)) -> [Instruction; 8] {
    let step = |code, jf, k| Instruction { code, jt: 0, jf, k };
    let [_, lower] = argument_offsets(FLAGS_ARGUMENT);
    [
        step(LOAD, 0, ARCHITECTURE_OFFSET),
        step(JUMP_IF_EQUAL, 6, architecture),
        step(LOAD, 0, NUMBER_OFFSET),
        step(JUMP_IF_EQUAL, 4, number),
        step(LOAD, 0, lower),
        step(AND, 0, NEW_LISTENER),
        step(JUMP_IF_EQUAL, 1, NEW_LISTENER),
        step(RETURN, 0, BUSY),
    ]
}

/// Lets these numbers of an architecture run and skips to its own end with all others.
fn shortcut(architecture: u32, numbers: &[u32]) -> Vec<Instruction> {
    let numbers = numbers.get(..MAX_UNASKED).unwrap_or(numbers);
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let short = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
    let count = numbers.len();
    let mut steps = vec![
        step(LOAD, 0, 0, ARCHITECTURE_OFFSET),
        // Over the load and the comparisons, to the jump.
        step(JUMP_IF_EQUAL, 0, short(count + 1), architecture),
        step(LOAD, 0, 0, NUMBER_OFFSET),
    ];
    // Over the comparisons that are left and the jump, to the return.
    steps.extend(numbers.iter().enumerate().map(|(at, number)| step(JUMP_IF_EQUAL, short(count - at), 0, *number)));
    steps.extend([step(JUMP, 0, 0, 1), step(RETURN, 0, 0, ALLOW)]);
    steps
}
