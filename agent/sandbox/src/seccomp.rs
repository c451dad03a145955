//! Filters of system calls: allowed by default, what leads out of a sandbox is refused.
//!
//! A GPU driver's ioctls are not looked at. What needs a system call that is refused here gets `EPERM`, or `ENOSYS` where
//! libraries then take an older call that can be looked into.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use crate::Stage;

/// The filters could not be made or put in force.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// No list of system calls for this processor.
    #[error("no filter of system calls is known for the processor {}", std::env::consts::ARCH)]
    Processor,
    /// A rule makes no sense.
    #[error("a filter of system calls does not compile: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// The kernel did not take it.
    #[error("the kernel does not take a filter of system calls: {0}")]
    Install(#[from] seccompiler::Error),
}

/// What a filter depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strictness {
    /// What the process is there for.
    pub(crate) stage: Stage,
    /// Whether it has network, IPC and process namespaces of its own. Without, more must be refused.
    pub(crate) namespaces: bool,
}

/// Which calls are refused: none of the lists means always, each list is a conjunction of conditions on arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// System calls that are refused whatever their arguments.
const NEVER: &[i64] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    // A socket with a path is reached through every folder that may be read, whatever the network.
    libc::SYS_connect,
    libc::SYS_kcmp,
    // Calls that pass by this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Mounts, roots and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel's own workings.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_nfsservctl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    // Memory that nobody can count or look into.
    libc::SYS_memfd_secret,
    // System V's memory and queues: nobody's, so they are counted for nobody and outlive their makers.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgctl,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semtimedop,
    libc::SYS_semop,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // Files without their folders' rules, and devices.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Clocks and names of the machine.
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// What only runs are refused, not builds. Descriptors in flight are nobody's, so what they hold is counted for nobody; a run
/// receives some and has none to send. And what tells which pages of a file the machine holds in memory, or has it hold them:
/// runs that see the same libraries would tell each other something by it.
const NEVER_BUT_BUILDS: &[i64] = &[
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_mincore,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    SYS_CACHESTAT,
];

/// Where processes share the machine's IPC and network: what would meet others.
const NEVER_WITHOUT_NAMESPACES: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_inotify_init1,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

/// Landlock does not guard a file's owner, mode, times and attributes. Outside namespaces every file of the user has a name,
/// and in all of them a process may be handed a descriptor of a file of the machine, so these are refused; a build, which is
/// handed none, needs some of them on its own files.
const NO_METADATA: &[i64] = &[
    libc::SYS_fchownat,
    libc::SYS_fchown,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SYS_SETXATTRAT,
    SYS_REMOVEXATTRAT,
    SYS_FILE_SETATTR,
];
const NO_METADATA_BUT_BUILDS: &[i64] = &[libc::SYS_fchmod, libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_utimensat];

/// Newer than the C library's list; the numbers are the same on every processor.
const SYS_CACHESTAT: i64 = 451;
const SYS_FCHMODAT2: i64 = 452;
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_OPEN_TREE_ATTR: i64 = 467;
const SYS_FILE_SETATTR: i64 = 469;

/// Calls whose arguments lie in memory, where a filter cannot look: libraries take the older call when there is no such.
const NOT_THERE: &[i64] = &[libc::SYS_clone3, libc::SYS_openat2];

#[cfg(target_arch = "x86_64")]
mod processor {
    pub(super) const NEVER: &[i64] = &[
        libc::SYS_iopl,
        libc::SYS_ioperm,
        libc::SYS_kexec_file_load,
        libc::SYS_uselib,
        libc::SYS_ustat,
        libc::SYS_sysfs,
        libc::SYS__sysctl,
        libc::SYS_modify_ldt,
    ];
    pub(super) const NO_METADATA: &[i64] =
        &[libc::SYS_chown, libc::SYS_lchown, libc::SYS_inotify_init, libc::SYS_mknod];
    pub(super) const NO_METADATA_BUT_BUILDS: &[i64] =
        &[libc::SYS_chmod, libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat];
    /// Calls that set a mode, and which of their arguments it is.
    pub(super) const MODES: &[(i64, u8)] =
        &[(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1), (libc::SYS_mkdir, 1)];
    /// Calls that open, and which of their arguments are flags and mode.
    pub(super) const OPENS: &[(i64, u8, u8)] = &[(libc::SYS_open, 1, 2)];
}

#[cfg(not(target_arch = "x86_64"))]
mod processor {
    pub(super) const NEVER: &[i64] = &[];
    pub(super) const NO_METADATA: &[i64] = &[];
    pub(super) const NO_METADATA_BUT_BUILDS: &[i64] = &[];
    pub(super) const MODES: &[(i64, u8)] = &[];
    pub(super) const OPENS: &[(i64, u8, u8)] = &[];
}

const MODES: &[(i64, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (SYS_FCHMODAT2, 2),
    (libc::SYS_mknodat, 2),
    (libc::SYS_mkdirat, 2),
];
const OPENS: &[(i64, u8, u8)] = &[(libc::SYS_openat, 2, 3)];

/// The filters of a stage, to be installed in this order: what is refused, then what is said not to be there.
pub(crate) fn filters(strictness: Strictness) -> Result<[BpfProgram; 2], SeccompError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| SeccompError::Processor)?;
    let compile = |rules: Rules, errno: i32| -> Result<BpfProgram, SeccompError> {
        let refused = SeccompAction::Errno(errno.unsigned_abs());
        let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?.try_into()?;
        Ok(without_other_tables(program))
    };
    let missing = NOT_THERE.iter().map(|call| (*call, Vec::new())).collect();
    Ok([compile(refused(strictness)?, libc::EPERM)?, compile(missing, libc::ENOSYS)?])
}

/// Puts the filters in force for this thread and all that it starts. `no_new_privs` must be set.
pub(crate) fn install(filters: &[BpfProgram]) -> Result<(), SeccompError> {
    for filter in filters {
        seccompiler::apply_filter(filter)?;
    }
    Ok(())
}

/// x86_64 kernels may offer a second table of system calls ("x32") under the same architecture, whose numbers no rule names.
fn without_other_tables(program: BpfProgram) -> BpfProgram {
    if !cfg!(target_arch = "x86_64") {
        return program;
    }
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000;
    let x32 = 0x4000_0000;
    let mut whole = vec![
        // The number of the system call is the first word of what a filter is given.
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: x32 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: SECCOMP_RET_KILL_PROCESS },
    ];
    whole.extend(program);
    whole
}

fn refused(strictness: Strictness) -> Result<Rules, SeccompError> {
    let mut rules = Rules::new();
    let mut always = |calls: &[i64]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    always(NEVER);
    always(processor::NEVER);
    always(&[SYS_OPEN_TREE_ATTR]);
    if !strictness.namespaces {
        always(NEVER_WITHOUT_NAMESPACES);
    }
    if !strictness.namespaces || strictness.stage != Stage::Build {
        always(NO_METADATA);
        always(processor::NO_METADATA);
    }
    if strictness.stage != Stage::Build {
        always(NEVER_BUT_BUILDS);
        always(NO_METADATA_BUT_BUILDS);
        always(processor::NO_METADATA_BUT_BUILDS);
    }
    let mut when = |call: i64, conditions: Vec<SeccompCondition>| -> Result<(), SeccompError> {
        match rules.get_mut(&call) {
            // Refused whatever its arguments already.
            Some(known) if known.is_empty() => {}
            Some(known) => known.push(SeccompRule::new(conditions)?),
            None => {
                rules.insert(call, vec![SeccompRule::new(conditions)?]);
            }
        }
        Ok(())
    };
    for flag in NEW_NAMESPACES {
        when(libc::SYS_clone, vec![has(0, *flag)?])?;
    }
    let (unix, datagram, raw) = (libc::AF_UNIX as u64, libc::SOCK_DGRAM as u64, libc::SOCK_RAW as u64);
    when(libc::SYS_socket, vec![word(0, SeccompCmpOp::Ne, unix)?])?;
    when(libc::SYS_socketpair, vec![word(0, SeccompCmpOp::Ne, unix)?])?;
    // These are sent to any path without being connected.
    for kind in [datagram, raw] {
        when(libc::SYS_socket, vec![word(1, SeccompCmpOp::MaskedEq(0xf), kind)?])?;
        when(libc::SYS_socketpair, vec![word(1, SeccompCmpOp::MaskedEq(0xf), kind)?])?;
    }
    if !strictness.namespaces {
        // The user's other processes.
        when(libc::SYS_setpriority, vec![word(0, SeccompCmpOp::Ne, libc::PRIO_PROCESS as u64)?])?;
        when(libc::SYS_setpriority, vec![word(1, SeccompCmpOp::Ne, 0)?])?;
        when(libc::SYS_ioprio_set, vec![word(1, SeccompCmpOp::Ne, 0)?])?;
        for call in [libc::SYS_sched_setaffinity, libc::SYS_sched_setscheduler, libc::SYS_sched_setparam] {
            when(call, vec![word(0, SeccompCmpOp::Ne, 0)?])?;
        }
        when(libc::SYS_sched_setattr, vec![word(0, SeccompCmpOp::Ne, 0)?])?;
    }
    when(libc::SYS_prlimit64, vec![word(0, SeccompCmpOp::Ne, 0)?])?;
    // Asking is allowed.
    when(libc::SYS_personality, vec![word(0, SeccompCmpOp::Ne, 0xffff_ffff)?])?;
    // Characters typed into the person's terminal; flags of files that are only read.
    for request in [TIOCSTI, TIOCLINUX].iter().chain(FILE_FLAGS).copied() {
        when(libc::SYS_ioctl, vec![word(1, SeccompCmpOp::Eq, request)?])?;
    }
    for bit in [libc::S_ISUID, libc::S_ISGID].map(u64::from) {
        for (call, mode) in MODES.iter().chain(processor::MODES) {
            when(*call, vec![has(*mode, bit)?])?;
        }
        for (call, flags, mode) in OPENS.iter().chain(processor::OPENS) {
            when(*call, vec![has(*flags, libc::O_CREAT as u64)?, has(*mode, bit)?])?;
        }
    }
    Ok(rules)
}

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
/// FS_IOC_SETFLAGS, the same for 32 bits, FS_IOC_FSSETXATTR, FS_IOC_ENABLE_VERITY.
const FILE_FLAGS: &[u64] = &[0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4080_6685];

const NEW_NAMESPACES: &[u64] = &[
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
];

/// The argument has this bit.
fn has(argument: u8, bit: u64) -> Result<SeccompCondition, SeccompError> {
    word(argument, SeccompCmpOp::MaskedEq(bit), bit)
}

fn word(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, SeccompError> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> impl Iterator<Item = Strictness> {
        [Stage::Build, Stage::Train, Stage::Serve]
            .into_iter()
            .flat_map(|stage| [true, false].map(|namespaces| Strictness { stage, namespaces }))
    }

    #[test]
    fn every_filter_compiles_and_is_short_enough_for_the_kernel() {
        for strictness in every() {
            for filter in filters(strictness).unwrap() {
                assert!((3..4096).contains(&filter.len()), "{strictness:?}: {}", filter.len());
            }
        }
    }

    #[test]
    fn sockets_depend_on_a_network_of_ones_own() {
        for strictness in every() {
            let rules = refused(strictness).unwrap();
            // No condition: always refused.
            assert_eq!(rules[&libc::SYS_socket].is_empty(), !strictness.namespaces);
            assert!(!rules[&libc::SYS_socketpair].is_empty(), "pairs of stream sockets are allowed");
            assert!(rules[&libc::SYS_ptrace].is_empty());
            assert!(!rules.contains_key(&libc::SYS_execve) && !rules.contains_key(&libc::SYS_recvmsg));
        }
    }

    #[test]
    fn memory_that_is_counted_for_nobody_is_refused() {
        for strictness in every() {
            let rules = refused(strictness).unwrap();
            let never = |call: i64| rules.get(&call).is_some_and(Vec::is_empty);
            for call in [libc::SYS_shmget, libc::SYS_shmat, libc::SYS_msgget, libc::SYS_semget, libc::SYS_mq_open] {
                assert!(never(call), "{call}: {strictness:?}");
            }
            for call in [libc::SYS_sendmsg, libc::SYS_sendmmsg, libc::SYS_mincore, libc::SYS_fadvise64, SYS_CACHESTAT] {
                assert_eq!(never(call), strictness.stage != Stage::Build, "{call}: {strictness:?}");
            }
        }
    }

    #[test]
    fn a_build_may_set_the_mode_of_its_files() {
        for strictness in every() {
            let rules = refused(strictness).unwrap();
            let never = rules[&libc::SYS_fchmodat].is_empty();
            assert_eq!(never, strictness.stage != Stage::Build, "{strictness:?}");
        }
    }
}
