//! The seccomp filter: which system calls a sandbox may make. The list is data, in `profiles/seccomp.json`, each group
//! with its reason; this module turns it into the form that OCI runtimes take.
//!
//! The default is to refuse. Only the machine's own architecture is named: 32-bit calls, which would go around the list
//! by other numbers, are refused as a whole, and the filter costs half.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use crate::StepError;

const PROFILE: &str = include_str!("../profiles/seccomp.json");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    default: Default,
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Default {
    errno: Errno,
    #[serde(rename = "reason")]
    _reason: String,
}

/// Calls with one fate and one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "reason")]
    _reason: String,
    action: Action,
    /// What a refused call returns.
    errno: Option<Errno>,
    /// All of them must hold.
    #[serde(default)]
    args: Vec<Argument>,
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Allow,
    Refuse,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    index: usize,
    op: Comparison,
    value: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Comparison {
    Equal,
    Greater,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Errno {
    #[serde(rename = "EPERM")]
    NotPermitted,
    #[serde(rename = "ENOSYS")]
    NoSuchCall,
    #[serde(rename = "EPROTONOSUPPORT")]
    NoSuchProtocol,
    #[serde(rename = "EAFNOSUPPORT")]
    NoSuchFamily,
}

impl Errno {
    fn number(self) -> u32 {
        let number = match self {
            Self::NotPermitted => libc::EPERM,
            Self::NoSuchCall => libc::ENOSYS,
            Self::NoSuchProtocol => libc::EPROTONOSUPPORT,
            Self::NoSuchFamily => libc::EAFNOSUPPORT,
        };
        number.unsigned_abs()
    }
}

/// The filter of every sandbox.
pub(crate) fn filter() -> Result<LinuxSeccomp, StepError> {
    let profile: Profile = serde_json::from_str(PROFILE).map_err(|error| StepError::Unexpected {
        what: "the built-in seccomp profile",
        got: error.to_string(),
        expected: "this is a fault of the build",
    })?;
    let syscalls: Result<Vec<LinuxSyscall>, _> = profile.groups.iter().map(Group::for_runtime).collect();
    syscalls
        .and_then(|syscalls| {
            LinuxSeccompBuilder::default()
                .default_action(LinuxSeccompAction::ScmpActErrno)
                .default_errno_ret(profile.default.errno.number())
                .architectures(vec![native()])
                .syscalls(syscalls)
                .build()
        })
        .map_err(|error| StepError::Unexpected {
            what: "the built-in seccomp profile",
            got: error.to_string(),
            expected: "this is a fault of the build",
        })
}

fn native() -> Arch {
    if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else {
        Arch::ScmpArchX86_64
    }
}

impl Group {
    fn for_runtime(&self) -> Result<LinuxSyscall, oci_spec::OciSpecError> {
        let mut builder = LinuxSyscallBuilder::default().names(self.names.clone());
        builder = match self.action {
            Action::Allow => builder.action(LinuxSeccompAction::ScmpActAllow),
            Action::Refuse => builder
                .action(LinuxSeccompAction::ScmpActErrno)
                .errno_ret(self.errno.unwrap_or(Errno::NotPermitted).number()),
        };
        if !self.args.is_empty() {
            let args: Result<Vec<LinuxSeccompArg>, _> =
                self.args.iter().map(|arg| arg.for_runtime()).collect();
            builder = builder.args(args?);
        }
        builder.build()
    }
}

impl Argument {
    fn for_runtime(self) -> Result<LinuxSeccompArg, oci_spec::OciSpecError> {
        let op = match self.op {
            Comparison::Equal => LinuxSeccompOperator::ScmpCmpEq,
            Comparison::Greater => LinuxSeccompOperator::ScmpCmpGt,
        };
        LinuxSeccompArgBuilder::default()
            .index(self.index)
            .value(self.value)
            .op(op)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn profile() -> Profile {
        serde_json::from_str(PROFILE).unwrap()
    }

    #[test]
    fn every_group_has_a_reason_and_a_clear_fate() {
        for group in profile().groups {
            assert!(group._reason.len() > 3, "{:?}", group.names);
            assert!(!group.names.is_empty());
            assert_eq!(
                group.action == Action::Refuse,
                group.errno.is_some(),
                "{:?}",
                group.names
            );
        }
    }

    #[test]
    fn no_call_has_two_fates() {
        let mut fates: HashMap<String, bool> = HashMap::new();
        for group in profile().groups {
            for name in group.names {
                let conditional = !group.args.is_empty();
                // A call may stand in several groups only if each of them has a condition.
                if let Some(before) = fates.insert(name.clone(), conditional) {
                    assert!(before && conditional, "`{name}` is listed twice");
                }
            }
        }
    }

    #[test]
    fn what_reaches_the_kernel_deepest_is_refused() {
        let allowed: Vec<String> = profile()
            .groups
            .into_iter()
            .filter(|group| group.action == Action::Allow)
            .flat_map(|group| group.names)
            .collect();
        for name in [
            "add_key",
            "bpf",
            "clone3",
            "fsopen",
            "init_module",
            "io_uring_setup",
            "kexec_load",
            "keyctl",
            "mount",
            "move_mount",
            "open_by_handle_at",
            "perf_event_open",
            "pivot_root",
            "ptrace",
            "request_key",
            "setns",
            "syslog",
            "userfaultfd",
        ] {
            assert!(!allowed.iter().any(|allowed| allowed == name), "{name}");
        }
    }

    #[test]
    fn the_filter_refuses_by_default_and_knows_one_architecture() {
        let filter = filter().unwrap();
        assert_eq!(filter.default_action(), LinuxSeccompAction::ScmpActErrno);
        assert_eq!(filter.default_errno_ret(), Some(38));
        assert_eq!(filter.architectures().as_ref().unwrap().len(), 1);
    }
}
