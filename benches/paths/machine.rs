//! What the machine does meanwhile: how busy our processes keep it, and how busy others do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use procfs::{
    CpuInfo, Current, CurrentSI, KernelStats, Meminfo,
    process::{Process, Stat, all_processes},
};

/// CPU time up to an instant, in seconds.
pub struct Usage {
    /// All that was done on the machine.
    busy: f64,
    /// All that could have been done.
    whole: f64,
    /// By process.
    processes: BTreeMap<i32, Stat>,
}

/// What was used between two instants, in seconds of CPU.
pub struct Spent {
    /// By the server.
    pub server: f64,
    /// By PostgreSQL and Redis, which are children of the server.
    pub children: f64,
    /// The part of the machine that processes took which are none of ours.
    pub others: f64,
}

impl Usage {
    pub fn now() -> Result<Usage> {
        let total = KernelStats::current()?.total;
        let hertz = procfs::ticks_per_second() as f64;
        let idle = total.idle + total.iowait.unwrap_or(0);
        let busy = total.user + total.nice + total.system + total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
        let processes = all_processes()?
            .filter_map(|process| process.ok()?.stat().ok())
            .map(|stat| (stat.pid, stat))
            .collect();
        Ok(Usage {
            busy: busy as f64 / hertz,
            whole: (busy + idle) as f64 / hertz,
            processes,
        })
    }

    /// What was used since. `server` is the process of the stack.
    pub fn since(&self, before: &Usage, server: i32) -> Spent {
        let below = |roots: &[i32]| self.below(roots);
        let ours = below(&[std::process::id() as i32, server]);
        let own: f64 = ours.iter().map(|pid| self.used(before, *pid)).sum();
        let servers = below(&[server]);
        let used_by_server = self.used(before, server);
        let children: f64 = servers.iter().map(|pid| self.used(before, *pid)).sum::<f64>() - used_by_server;
        let others = (self.busy - before.busy - own).max(0.0) / (self.whole - before.whole).max(f64::EPSILON);
        Spent {
            server: used_by_server,
            children,
            others,
        }
    }

    /// These processes and all that descend from them.
    fn below(&self, roots: &[i32]) -> BTreeSet<i32> {
        let mut found: BTreeSet<i32> = roots.iter().copied().collect();
        loop {
            let more: Vec<i32> = self
                .processes
                .values()
                .filter(|stat| found.contains(&stat.ppid) && !found.contains(&stat.pid))
                .map(|stat| stat.pid)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// CPU time of a process and of its children that ended, in seconds.
    fn used(&self, before: &Usage, pid: i32) -> f64 {
        let ticks = |usage: &Usage| {
            usage.processes.get(&pid).map_or(0, |stat| {
                let ended = (stat.cutime + stat.cstime).max(0) as u64;
                stat.utime + stat.stime + ended
            })
        };
        ticks(self).saturating_sub(ticks(before)) as f64 / procfs::ticks_per_second() as f64
    }
}

/// Memory of a process in MiB: resident now, and at most so far.
pub fn resident(pid: i32) -> Result<(f64, f64)> {
    let status = Process::new(pid)?.status()?;
    let mib = |kib: Option<u64>| kib.map(|kib| kib as f64 / 1_024.0).context("no figure of memory");
    Ok((mib(status.vmrss)?, mib(status.vmhwm)?))
}

/// The machine in a few words.
pub fn described() -> Result<String> {
    let cpus = CpuInfo::current()?;
    let name = cpus.model_name(0).unwrap_or("a processor without a name").to_owned();
    let memory = Meminfo::current()?.mem_total / (1 << 30);
    let kernel = procfs::sys::kernel::Version::current()?;
    Ok(format!(
        "{} × {name}, {memory} GiB, Linux {}.{}",
        cpus.num_cores(),
        kernel.major,
        kernel.minor
    ))
}
