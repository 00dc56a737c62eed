//! What a sandbox is to be made of. Plain data; [`Spec::check`] is the only place that refuses it.

use std::path::PathBuf;

use crate::SandboxError;

/// Layers that one root may be stacked from.
pub(crate) const MAX_LAYERS: usize = 32;

const MIB: u64 = 1 << 20;

/// What a sandbox is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Read-only layers of the root file system, bottom first: erofs files, or directories where the kernel has no erofs.
    pub layers: Vec<PathBuf>,
    /// The guest's static binary on the host. It is bind-mounted read-only at `/opt/berth/berth-guest` and run as
    /// `berth-guest init`.
    pub guest_binary: PathBuf,
    /// The host name inside: one DNS label.
    pub hostname: String,
    /// What the sandbox may use.
    pub limits: Limits,
    /// How it starts out beside the others; [`crate::Sandbox::set_priority`] changes it.
    pub priority: Priority,
    /// Environment of the first process, besides `PATH`, `HOME`, `LANG` and `container`, which are set here.
    pub environment: Vec<(String, String)>,
}

/// A sandbox's share of the processor while others want it too. What nobody else wants, any may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// A tenth of what a normal one gets: for work that nobody waits for.
    Low,
    /// The same as every other sandbox.
    #[default]
    Normal,
}

/// What a sandbox may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Memory of all processes, with their page cache and `/dev/shm`, in bytes. Swap is not added to it.
    pub memory_bytes: u64,
    /// Processor time, in processors: 0.5 is half of one.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
    /// Size of the file system for everything that is written, in bytes.
    pub disk_bytes: u64,
    /// Files and directories on it.
    pub inodes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 2048 * MIB,
            cpus: 2.0,
            pids: 512,
            disk_bytes: 8192 * MIB,
            inodes: 500_000,
        }
    }
}

impl Limits {
    /// The first limit that no sandbox could have, as [`SandboxError::InvalidSpec`].
    pub fn check(&self) -> Result<(), SandboxError> {
        let range = |field, got: u64, low: u64, high: u64, allowed| {
            if (low..=high).contains(&got) {
                Ok(())
            } else {
                invalid(field, got, allowed)
            }
        };
        range(
            "limits.memory_bytes",
            self.memory_bytes,
            16 * MIB,
            1 << 50,
            "16 MiB to 1 PiB",
        )?;
        range("limits.pids", self.pids.into(), 8, 1 << 22, "8 to 4194304")?;
        range(
            "limits.disk_bytes",
            self.disk_bytes,
            16 * MIB,
            16 << 40,
            "16 MiB to 16 TiB",
        )?;
        range("limits.inodes", self.inodes, 1024, 1 << 31, "1024 to 2147483648")?;
        if self.inodes > self.disk_bytes / 1024 {
            return invalid(
                "limits.inodes",
                self.inodes,
                "at most one for each KiB of `limits.disk_bytes`",
            );
        }
        if !(0.01..=4096.0).contains(&self.cpus) {
            return invalid("limits.cpus", self.cpus, "0.01 to 4096");
        }
        Ok(())
    }
}

impl Spec {
    /// Refuses what could not work, before anything is made.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        self.limits.check()?;
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            return invalid("layers", self.layers.len(), "1 to 32 layers");
        }
        for layer in &self.layers {
            if !layer.is_absolute() {
                return invalid("layers", layer.display(), "absolute paths");
            }
        }
        if !self.guest_binary.is_absolute() {
            return invalid("guest_binary", self.guest_binary.display(), "an absolute path");
        }
        let label = self.hostname.as_bytes();
        let plain = label
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if label.is_empty() || label.len() > 63 || !plain || label.starts_with(b"-") || label.ends_with(b"-")
        {
            return invalid(
                "hostname",
                &self.hostname,
                "1 to 63 letters, digits and inner `-`",
            );
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return invalid("environment", name, "names without `=`, and no NUL");
            }
        }
        Ok(())
    }
}

fn invalid<T>(
    field: &'static str,
    got: impl std::fmt::Display,
    allowed: &'static str,
) -> Result<T, SandboxError> {
    Err(SandboxError::InvalidSpec {
        field,
        got: got.to_string(),
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            layers: vec!["/images/base.erofs".into()],
            guest_binary: "/usr/lib/berth/berth-guest".into(),
            hostname: "session".into(),
            limits: Limits::default(),
            priority: Priority::Normal,
            environment: vec![("BERTH_USER".into(), "user".into())],
        }
    }

    fn refused(change: impl FnOnce(&mut Spec)) -> &'static str {
        let mut spec = spec();
        change(&mut spec);
        match spec.check() {
            Err(SandboxError::InvalidSpec { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        spec().check().unwrap();
    }

    #[test]
    fn each_impossible_field_is_named() {
        assert_eq!(refused(|s| s.layers.clear()), "layers");
        assert_eq!(refused(|s| s.layers = vec!["relative".into()]), "layers");
        assert_eq!(refused(|s| s.layers = vec!["/x".into(); 33]), "layers");
        assert_eq!(refused(|s| s.guest_binary = "berth-guest".into()), "guest_binary");
        for name in ["", "-a", "a-", "a.b", "a\nb", &"x".repeat(64)] {
            assert_eq!(refused(|s| s.hostname = name.into()), "hostname", "{name:?}");
        }
        assert_eq!(
            refused(|s| s.environment = vec![("A=B".into(), "".into())]),
            "environment"
        );
        assert_eq!(
            refused(|s| s.environment = vec![("A".into(), "\0".into())]),
            "environment"
        );
        assert_eq!(refused(|s| s.limits.memory_bytes = 0), "limits.memory_bytes");
        assert_eq!(refused(|s| s.limits.pids = 1), "limits.pids");
        assert_eq!(refused(|s| s.limits.disk_bytes = 1), "limits.disk_bytes");
        assert_eq!(refused(|s| s.limits.inodes = 8 << 30), "limits.inodes");
        assert_eq!(refused(|s| s.limits.inodes = (8 << 20) + 1), "limits.inodes");
        for cpus in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(|s| s.limits.cpus = cpus), "limits.cpus", "{cpus}");
        }
    }
}
