//! Which handlers are palisade's, and whether they can be reached.

use super::check::Severity::{High, Low, Medium};
use super::check::{Check, Found, check};
use super::config::Handler;
use super::node::{Node, ShimFacts};

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.runtimeclass.handler",
        High,
        "A handler of containerd's is palisade's",
        "Without one no RuntimeClass leads to it, and nothing is enforced.",
        "docs/cri.md",
        "add a table …containerd.runtimes.palisade with runtime_type = \"io.containerd.palisade.v1\" to containerd's configuration",
        |node| {
            if node.containerd.present { with_handlers(node, handler) } else { Found::fail("no containerd is here") }
        },
    ),
    check(
        "host.runtimeclass.default",
        High,
        "The default handler is palisade's",
        "A pod that names no RuntimeClass runs without palisade.",
        "docs/cri.md",
        "set default_runtime_name to palisade's handler",
        |node| with_handlers(node, default),
    ),
    check(
        "host.runtimeclass.others",
        Medium,
        "Every handler is palisade's",
        "Whoever may name a RuntimeClass of another one runs without palisade.",
        "docs/cri.md",
        "remove the handler, or refuse its RuntimeClass by an admission policy",
        |node| with_handlers(node, others),
    ),
    check(
        "host.runtimeclass.cri",
        High,
        "CRI is not switched off",
        "The kubelet reaches no handler of this containerd.",
        "containerd docs/cri/config.md",
        "remove cri from disabled_plugins",
        cri,
    ),
    check(
        "host.runtimeclass.shim",
        High,
        "The shim of each of palisade's handlers is where containerd looks for it",
        "Without it every pod of the handler fails.",
        "containerd core/runtime/v2/README.md",
        "install containerd-shim-palisade-v1 into /usr/local/bin, or set runtime_path",
        |node| with_shims(node, shim),
    ),
    check(
        "host.runtimeclass.architecture",
        High,
        "The shim is a program of this processor",
        "Another one can't be run, and every pod of the handler fails.",
        "elf(5)",
        "install the shim that was built for this architecture",
        |node| with_shims(node, architecture),
    ),
    check(
        "host.runtimeclass.answers",
        High,
        "The shim says its version, and the one of this tool",
        "One that does not run makes no containers; one of another version may read the policy differently from what this tool shows.",
        "containerd core/runtime/v2/README.md, -v",
        "install shim and tool of one version",
        |node| with_shims(node, answers),
    ),
    check(
        "host.runtimeclass.features",
        Low,
        "The kubelet sees what palisade's handlers can do",
        "Up to containerd 2.1 CRI asks for features only of runc's type; with palisade's own type hostUsers: false and recursive read-only mounts are refused.",
        "docs/cri.md",
        "set runtime_type = \"io.containerd.runc.v2\" and runtime_path to palisade's shim",
        |node| with_handlers(node, features),
    ),
];

fn with_handlers(node: &Node, look: fn(&[Handler], &Node) -> Found) -> Found {
    match node.containerd.handlers() {
        _ if !node.containerd.present => Found::none("no containerd"),
        Ok(handlers) => look(&handlers, node),
        Err(why) => Found::unknown(why),
    }
}

fn names<'a>(handlers: impl Iterator<Item = &'a Handler>) -> String {
    handlers.map(|handler| handler.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn handler(handlers: &[Handler], _: &Node) -> Found {
    let own = names(handlers.iter().filter(|handler| handler.is_palisade()));
    if own.is_empty() { Found::fail(format!("there are {}", names(handlers.iter()))) } else { Found::pass(own) }
}

fn default(handlers: &[Handler], node: &Node) -> Found {
    let Ok(config) = &node.containerd.config else { return Found::unknown("no configuration") };
    let name = config.default_handler();
    match handlers.iter().find(|handler| handler.name == name) {
        Some(handler) if handler.is_palisade() => Found::pass(name),
        Some(handler) => Found::fail(format!("the default handler {name} is of type {}", handler.kind)),
        None => Found::fail(format!("the default handler {name} is not there")),
    }
}

fn others(handlers: &[Handler], _: &Node) -> Found {
    let others = names(handlers.iter().filter(|handler| !handler.is_palisade()));
    if others.is_empty() { Found::pass("all are") } else { Found::fail(format!("not palisade's: {others}")) }
}

fn cri(node: &Node) -> Found {
    if !node.containerd.present {
        return Found::none("no containerd");
    }
    let config = match &node.containerd.config {
        Ok(config) => config,
        Err(why) => return Found::unknown(why.clone()),
    };
    let disabled = config.at(&["disabled_plugins"]).map(super::config::texts).unwrap_or_default();
    let cri: Vec<String> = disabled.into_iter().filter(|name| name == "cri" || name.contains(".cri")).collect();
    if cri.is_empty() { Found::pass("on") } else { Found::fail(format!("disabled_plugins has {}", cri.join(", "))) }
}

fn with_shims(node: &Node, look: fn(&ShimFacts, &Node) -> Result<String, String>) -> Found {
    if let Err(why) = &node.containerd.config {
        return Found::unknown(why.clone());
    }
    if node.containerd.shims.is_empty() {
        return Found::none("no handler is palisade's");
    }
    let seen: Vec<Result<String, String>> = node.containerd.shims.iter().map(|shim| look(shim, node)).collect();
    let wrong: Vec<String> = seen.iter().filter_map(|one| one.as_ref().err().cloned()).collect();
    if seen.iter().all(|one| one.as_ref().is_ok_and(String::is_empty)) {
        return Found::none("nothing to look at");
    }
    Found::all(&wrong, seen.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn shim(shim: &ShimFacts, _: &Node) -> Result<String, String> {
    match &shim.path {
        Ok(path) => Ok(format!("{}: {path}", shim.handler)),
        Err(places) => Err(format!("{}: not in {}", shim.handler, places.join(", "))),
    }
}

/// `e_machine` of what the kernel calls its machine. Source: elf.h.
fn machine_of(arch: &str) -> Option<u16> {
    match arch {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        "riscv64" => Some(243),
        "s390x" => Some(22),
        "ppc64le" => Some(21),
        _ => None,
    }
}

fn architecture(shim: &ShimFacts, node: &Node) -> Result<String, String> {
    let Ok(path) = &shim.path else { return Ok(String::new()) };
    let machine = shim.machine.clone()?.ok_or_else(|| format!("{path} is no ELF file"))?;
    let arch = node.arch.as_ref().map_err(Clone::clone)?;
    match machine_of(arch) {
        Some(own) if own == machine => Ok(format!("{path} is of {arch}")),
        Some(_) => Err(format!("{path} is not of {arch}")),
        None => Err(format!("{arch} is not known here")),
    }
}

fn answers(shim: &ShimFacts, _: &Node) -> Result<String, String> {
    let Some(answer) = &shim.answer else { return Ok(String::new()) };
    let said = answer.clone()?;
    let own = env!("CARGO_PKG_VERSION");
    let same = said.split_whitespace().any(|word| word == own);
    if same {
        Ok(format!("{} says {own}", shim.handler))
    } else {
        Err(format!("{} says {:?}, this is {own}", shim.handler, said.trim()))
    }
}

fn features(handlers: &[Handler], node: &Node) -> Found {
    let own: Vec<&Handler> = handlers.iter().filter(|handler| handler.is_palisade()).collect();
    let program = node.containerd.program.as_ref();
    let version = match program.map(|program| &program.version) {
        _ if own.is_empty() => return Found::none("no handler is palisade's"),
        Some(Ok(version)) => version,
        Some(Err(why)) => return Found::unknown(why.clone()),
        None => return Found::unknown("containerd's program was not found"),
    };
    let asked_of_all = super::version::Version::parse("2.2.0").is_some_and(|since| *version >= since);
    let by_type: Vec<&Handler> = own.into_iter().filter(|handler| handler.kind != "io.containerd.runc.v2").collect();
    if asked_of_all || by_type.is_empty() {
        return Found::pass(format!("containerd {version}"));
    }
    Found::warn(format!("containerd {version} does not ask {}", names(by_type.into_iter())))
}
