//! How much of the machine the process may use: limits of control groups.

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxDeviceCgroup, LinuxMemoryBuilder, LinuxResources, LinuxResourcesBuilder,
};

use crate::control_group;

/// Limits of control groups; what is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Length of a period of the CPU's time, in microseconds.
    pub cpu_period: Option<u64>,
    /// CPU time in a period, in microseconds; negative for no limit.
    pub cpu_quota: Option<i64>,
    /// Weight beside other groups.
    pub cpu_shares: Option<u64>,
    /// CPUs, such as `0-3,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, such as `0,1`.
    pub cpuset_mems: Option<String>,
    /// Memory in bytes.
    pub memory: Option<i64>,
    /// Memory and swap together in bytes; -1 for no limit.
    pub memory_swap: Option<i64>,
    /// The control group that the process's own is made in, by its path from the top.
    pub cgroup_parent: Option<PathBuf>,
}

/// A limit that the host cannot keep.
#[derive(Debug, thiserror::Error)]
#[error("the host's control groups have no {0:?} controller, so that limits on it cannot be kept")]
pub struct NoController(pub &'static str);

impl Resources {
    /// The first limit that is set, in words.
    pub(crate) fn first_named(&self) -> Option<&'static str> {
        let limits = [
            ("a limit on CPU time", self.cpu_period.is_some() || self.cpu_quota.is_some() || self.cpu_shares.is_some()),
            ("a choice of CPUs", self.cpuset_cpus.is_some() || self.cpuset_mems.is_some()),
            ("a limit on memory", self.memory.is_some() || self.memory_swap.is_some()),
            ("a control group's parent", self.cgroup_parent.is_some()),
        ];
        limits.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
    }

    /// Whether the host has the controllers for the limits that are set.
    pub fn check(&self) -> Result<(), NoController> {
        let cpu = self.cpu_period.is_some() || self.cpu_quota.is_some() || self.cpu_shares.is_some();
        let cpuset = self.cpuset_cpus.is_some() || self.cpuset_mems.is_some();
        let memory = self.memory.is_some() || self.memory_swap.is_some();
        for (name, is_used) in [("cpu", cpu), ("cpuset", cpuset), ("memory", memory)] {
            if is_used && !control_group::host_controls(Path::new("/sys/fs/cgroup"), name) {
                return Err(NoController(name));
            }
        }
        Ok(())
    }

    /// As the runtime specification has them, with the rules for devices.
    pub(crate) fn to_spec(&self, devices: Vec<LinuxDeviceCgroup>) -> Result<LinuxResources, OciSpecError> {
        let mut cpu = LinuxCpuBuilder::default().build()?;
        cpu.set_period(self.cpu_period).set_quota(self.cpu_quota).set_shares(self.cpu_shares);
        cpu.set_cpus(self.cpuset_cpus.clone()).set_mems(self.cpuset_mems.clone());
        let mut memory = LinuxMemoryBuilder::default().build()?;
        memory.set_limit(self.memory).set_swap(self.memory_swap);
        let mut resources = LinuxResourcesBuilder::default().devices(devices).build()?;
        if *self != (Resources { cgroup_parent: self.cgroup_parent.clone(), ..Resources::default() }) {
            resources.set_cpu(Some(cpu)).set_memory(Some(memory));
        }
        Ok(resources)
    }
}
