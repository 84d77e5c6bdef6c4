//! libseccomp 2.5 as runc uses it: the program that it makes of a profile. It is opened at run time, so nothing else needs it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op, LinuxSyscall,
};
use palisade_seccomp::{Architecture, Instruction};

/// `struct scmp_arg_cmp` (seccomp.h).
#[repr(C)]
struct ArgCmp {
    index: u32,
    op: u32,
    a: u64,
    b: u64,
}

type Context = *mut c_void;

/// The functions that are used.
#[allow(missing_debug_implementations, reason = "of tests alone")]
pub(crate) struct Libseccomp {
    init: unsafe extern "C" fn(u32) -> Context,
    release: unsafe extern "C" fn(Context),
    arch_add: unsafe extern "C" fn(Context, u32) -> c_int,
    arch_remove: unsafe extern "C" fn(Context, u32) -> c_int,
    resolve: unsafe extern "C" fn(*const c_char) -> c_int,
    rule_add: unsafe extern "C" fn(Context, u32, c_int, u32, *const ArgCmp) -> c_int,
    attr_set: unsafe extern "C" fn(Context, c_int, u32) -> c_int,
    export: unsafe extern "C" fn(Context, c_int) -> c_int,
}

/// __NR_SCMP_ERROR (seccomp.h): no architecture has the name.
const UNKNOWN: c_int = -1;
/// SCMP_FLTATR_CTL_OPTIMIZE, and 2: a binary tree, as runc asks for it.
const OPTIMIZE: (c_int, u32) = (8, 2);

#[allow(unsafe_code, reason = "a C library")]
impl Libseccomp {
    /// Opens the library; panics where it is not installed (Debian: libseccomp2, which apt itself needs).
    pub(crate) fn open() -> Self {
        // JUSTIFICATION: libseccomp has no other interface, and nothing but this test is to depend on it.
        // SAFETY: the name is a C string; libseccomp's initialisers do nothing but read the kernel's features. Each function is taken with the
        // prototype that seccomp.h of version 2 has, under whose soname the library was found. It is never closed.
        unsafe {
            let library = libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW);
            assert!(!library.is_null(), "libseccomp.so.2 is not installed");
            let find = |name: &CStr| {
                let found = libc::dlsym(library, name.as_ptr());
                assert!(!found.is_null(), "libseccomp has no {name:?}");
                found
            };
            Self {
                init: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32) -> Context>(find(c"seccomp_init")),
                release: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Context)>(find(c"seccomp_release")),
                arch_add: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Context, u32) -> c_int>(find(
                    c"seccomp_arch_add",
                )),
                arch_remove: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Context, u32) -> c_int>(find(
                    c"seccomp_arch_remove",
                )),
                resolve: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char) -> c_int>(find(
                    c"seccomp_syscall_resolve_name",
                )),
                rule_add: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(Context, u32, c_int, u32, *const ArgCmp) -> c_int,
                >(find(c"seccomp_rule_add_array")),
                attr_set: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Context, c_int, u32) -> c_int>(find(
                    c"seccomp_attr_set",
                )),
                export: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Context, c_int) -> c_int>(find(
                    c"seccomp_export_bpf",
                )),
            }
        }
    }

    /// Whether some architecture has a call of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let name = CString::new(name).unwrap();
        // JUSTIFICATION: as above.
        // SAFETY: the name is a C string, which the library only reads.
        unsafe { (self.resolve)(name.as_ptr()) != UNKNOWN }
    }

    /// What runc (libcontainer/seccomp) makes of a profile: names that the library does not know are left out, and so are entries that say
    /// what the default says; an entry with two conditions on one argument is one rule for each condition.
    /// `native` is the architecture of the machine that it is for.
    pub(crate) fn compile(&self, profile: &LinuxSeccomp, native: Architecture) -> Vec<Instruction> {
        let default = action(profile.default_action(), profile.default_errno_ret());
        // JUSTIFICATION: as above.
        // SAFETY: the context is a valid one until it is released at the end, and the arguments of each call live while it runs.
        unsafe {
            let context = (self.init)(default);
            assert!(!context.is_null());
            let listed = profile.architectures().iter().flatten().filter_map(|arch| Architecture::of(*arch));
            for arch in listed.filter(|arch| native.others().contains(arch)).chain([native]) {
                let result = (self.arch_add)(context, token(arch));
                assert!([0, -libc::EEXIST].contains(&result), "{arch}: {result}");
            }
            // The library begins with its own.
            if let Some(host) = Architecture::native().ok().filter(|host| *host != native) {
                assert_eq!((self.arch_remove)(context, token(host)), 0);
            }
            assert_eq!((self.attr_set)(context, OPTIMIZE.0, OPTIMIZE.1), 0);
            for entry in profile.syscalls().iter().flatten() {
                let verdict = action(entry.action(), entry.errno_ret());
                for name in entry.names().iter().filter(|_| verdict != default) {
                    let name = CString::new(name.as_str()).unwrap();
                    let number = (self.resolve)(name.as_ptr());
                    for rule in rules(entry).iter().filter(|_| number != UNKNOWN) {
                        let count = u32::try_from(rule.len()).unwrap();
                        let result = (self.rule_add)(context, verdict, number, count, rule.as_ptr());
                        // The same rule twice is one.
                        assert!([0, -libc::EEXIST].contains(&result), "{name:?}: {result}");
                    }
                }
            }
            let program = self.exported(context);
            (self.release)(context);
            program
        }
    }

    fn exported(&self, context: Context) -> Vec<Instruction> {
        // JUSTIFICATION: as above.
        // SAFETY: memfd_create returns a new descriptor, which the file then owns; the context is valid.
        let mut file = unsafe {
            let fd = libc::memfd_create(c"bpf".as_ptr(), 0);
            assert!(fd >= 0);
            let file = File::from_raw_fd(fd);
            assert_eq!((self.export)(context, file.as_raw_fd()), 0);
            file
        };
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let instruction = |step: &[u8]| Instruction {
            code: u16::from_ne_bytes([step[0], step[1]]),
            jt: step[2],
            jf: step[3],
            k: u32::from_ne_bytes([step[4], step[5], step[6], step[7]]),
        };
        bytes.chunks_exact(8).map(instruction).collect()
    }
}

fn rules(entry: &LinuxSyscall) -> Vec<Vec<ArgCmp>> {
    let args = entry.args().as_deref().unwrap_or_default();
    if repeats(entry) {
        args.iter().map(|arg| vec![compared(arg)]).collect()
    } else {
        vec![args.iter().map(compared).collect()]
    }
}

/// Whether two conditions of an entry are about one argument.
pub(crate) fn repeats(entry: &LinuxSyscall) -> bool {
    let args = entry.args().as_deref().unwrap_or_default();
    args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|other| other.index() == arg.index()))
}

fn compared(arg: &LinuxSeccompArg) -> ArgCmp {
    let op = match arg.op() {
        Op::ScmpCmpNe => 1,
        Op::ScmpCmpLt => 2,
        Op::ScmpCmpLe => 3,
        Op::ScmpCmpEq => 4,
        Op::ScmpCmpGe => 5,
        Op::ScmpCmpGt => 6,
        Op::ScmpCmpMaskedEq => 7,
    };
    ArgCmp { index: u32::try_from(arg.index()).unwrap(), op, a: arg.value(), b: arg.value_two().unwrap_or_default() }
}

/// SCMP_ACT_* (seccomp.h).
fn action(action: Action, errno: Option<u32>) -> u32 {
    match action {
        Action::ScmpActAllow => 0x7fff_0000,
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActErrno => 0x0005_0000 | errno.unwrap_or(1),
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => 0x8000_0000,
        other => panic!("{other}"),
    }
}

/// SCMP_ARCH_* (seccomp.h).
fn token(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::X86_64 => 0xc000_003e,
        Architecture::X86 => 0x4000_0003,
        Architecture::X32 => 0x4000_003e,
        Architecture::Aarch64 => 0xc000_00b7,
        Architecture::Arm => 0x4000_0028,
        Architecture::Riscv64 => 0xc000_00f3,
    }
}
