//! The system call filter as a program for the kernel (BPF), for a step without an OCI runtime.
//!
//! It decides as libseccomp does for the runtimes: calls of an architecture that the profile does not
//! name end the process, and a rule without conditions counts where none with conditions fits. The
//! calls are looked up in a tree of ranges: a few comparisons for each call that the process makes.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};

/// One instruction, as the kernel has it (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

/// A program and the flags that it is installed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub program: Vec<Instruction>,
    pub flags: u32,
}

/// A profile that cannot be made a program.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The profile asks somebody else.
    #[error("seccomp action {0} needs an OCI runtime: it is not there with --isolation chroot")]
    Action(LinuxSeccompAction),
    /// The calls of a machine are not known.
    #[error(
        "the system calls of {0} are not known to gabion: use an OCI runtime, or --security-opt seccomp=unconfined"
    )]
    Architecture(String),
    /// Conditions that mean nothing, or too many.
    #[error("invalid seccomp rule for {0:?}: expected at most {MOST_CONDITIONS} conditions on the arguments 0 to 5")]
    Conditions(String),
    /// The kernel takes no program of this length.
    #[error("seccomp profile of {0} instructions: the kernel takes 4096")]
    Length(usize),
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has what is loaded.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const KILL_PROCESS: u32 = 0x8000_0000;
/// The first of the numbers that x32 has for its calls on x86-64.
const X32: u32 = 0x4000_0000;
/// The kernel takes no longer program.
const MOST: usize = 4096;
/// A conditional jump reaches 255 instructions, which is more than these are.
const MOST_CONDITIONS: usize = 30;

/// An architecture whose calls the filter knows.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The kernel's name for it (`AUDIT_ARCH_…`).
    audit: u32,
    number_of: fn(&str) -> Option<u32>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    Plain(u32),
    /// The first of the rules whose conditions all hold; else the last word.
    Conditional(Vec<(Vec<LinuxSeccompArg>, u32)>, u32),
}

/// Makes a program of `profile`.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Filter, FilterError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut blocks = Vec::new();
    for known in architectures(profile)? {
        let mut block = vec![load(NUMBER)];
        if known.audit == 0xc000_003e {
            // x32 shares the architecture: its calls are no others, by other numbers.
            block.push(jump(JUMP_GREATER_EQUAL, X32, 0, 1));
            block.push(finish(KILL_PROCESS));
        }
        block.extend(tree(&ranges(&decisions(profile, known, default)?, default)));
        blocks.push((known.audit, block));
    }
    let mut program = vec![load(ARCHITECTURE)];
    for (audit, block) in blocks {
        program.push(jump(JUMP_EQUAL, audit, 1, 0));
        program.push(skip(block.len()));
        program.extend(block);
    }
    program.push(finish(KILL_PROCESS));
    match program.len() {
        0..=MOST => Ok(Filter { program, flags: flags(profile) }),
        length => Err(FilterError::Length(length)),
    }
}

fn flags(profile: &LinuxSeccomp) -> u32 {
    let flag = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 4,
        // For the other threads, of which there are none yet.
        _ => 0,
    };
    profile.flags().iter().flatten().map(flag).fold(0, |all, flag| all | flag)
}

/// As the kernel has it.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, FilterError> {
    const EPERM: u32 = 1;
    let data = errno.unwrap_or(EPERM) & 0xffff;
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | data,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | data,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        LinuxSeccompAction::ScmpActNotify => return Err(FilterError::Action(action)),
    })
}

/// Those that the profile names, or this machine's. What this machine does not run is left out.
fn architectures(profile: &LinuxSeccomp) -> Result<Vec<Known>, FilterError> {
    let native = native();
    let mut found: Vec<Known> = Vec::new();
    for name in profile.architectures().iter().flatten() {
        let known = match name {
            Arch::ScmpArchNative => native.first().copied(),
            name => native.iter().copied().find(|known| is_named(*known, *name)),
        };
        found.extend(known.filter(|known| !has(&found, known)));
    }
    // As libseccomp: the machine's own calls are always filtered.
    match native.first() {
        Some(own) if !has(&found, own) => found.insert(0, *own),
        Some(_) => {}
        None => return Err(FilterError::Architecture(std::env::consts::ARCH.to_owned())),
    }
    Ok(found)
}

fn has(list: &[Known], known: &Known) -> bool {
    list.iter().any(|other| other.audit == known.audit)
}

fn is_named(known: Known, name: Arch) -> bool {
    let audit = match name {
        Arch::ScmpArchX86_64 => 0xc000_003e,
        Arch::ScmpArchX86 => 0x4000_0003,
        Arch::ScmpArchAarch64 => 0xc000_00b7,
        Arch::ScmpArchArm => 0x4000_0028,
        Arch::ScmpArchRiscv64 => 0xc000_00f3,
        _ => return false,
    };
    known.audit == audit
}

/// This machine's architecture and then the one whose programs it runs, too.
#[cfg(target_arch = "x86_64")]
fn native() -> Vec<Known> {
    vec![
        Known { audit: 0xc000_003e, number_of: |name| number(name.parse::<syscalls::x86_64::Sysno>().ok()?.id()) },
        Known { audit: 0x4000_0003, number_of: |name| number(name.parse::<syscalls::x86::Sysno>().ok()?.id()) },
    ]
}

/// This machine's architecture and then the one whose programs it runs, too.
#[cfg(target_arch = "aarch64")]
fn native() -> Vec<Known> {
    vec![
        Known { audit: 0xc000_00b7, number_of: |name| number(name.parse::<syscalls::aarch64::Sysno>().ok()?.id()) },
        Known {
            audit: 0x4000_0028,
            number_of: |name| match name {
                // ARM's own, which have numbers far from the others.
                "breakpoint" => Some(0xf_0001),
                "cacheflush" => Some(0xf_0002),
                "set_tls" => Some(0xf_0005),
                name => number(name.parse::<syscalls::arm::Sysno>().ok()?.id()),
            },
        },
    ]
}

/// This machine's architecture.
#[cfg(target_arch = "riscv64")]
fn native() -> Vec<Known> {
    vec![Known { audit: 0xc000_00f3, number_of: |name| number(name.parse::<syscalls::riscv64::Sysno>().ok()?.id()) }]
}

/// None: there is no table of this machine's calls.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn native() -> Vec<Known> {
    Vec::new()
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
fn number(id: i32) -> Option<u32> {
    u32::try_from(id).ok()
}

/// What becomes of each call that the profile names and the architecture has.
fn decisions(profile: &LinuxSeccomp, known: Known, default: u32) -> Result<BTreeMap<u32, Decision>, FilterError> {
    /// Rules with conditions, and the first one without.
    type Rules = (Vec<(Vec<LinuxSeccompArg>, u32)>, Option<u32>);
    let mut rules: BTreeMap<u32, Rules> = BTreeMap::new();
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        let conditions = rule.args().clone().unwrap_or_default();
        for name in rule.names() {
            if conditions.len() > MOST_CONDITIONS || conditions.iter().any(|condition| condition.index() > 5) {
                return Err(FilterError::Conditions(name.clone()));
            }
            let Some(number) = (known.number_of)(name) else { continue };
            let (conditional, plain) = rules.entry(number).or_default();
            match conditions.is_empty() {
                true => *plain = plain.or(Some(action)),
                false => conditional.push((conditions.clone(), action)),
            }
        }
    }
    let decide = |(number, (conditional, plain)): (u32, Rules)| {
        let last = plain.unwrap_or(default);
        (number, if conditional.is_empty() { Decision::Plain(last) } else { Decision::Conditional(conditional, last) })
    };
    Ok(rules.into_iter().map(decide).collect())
}

/// The same for every number: where each range begins. Neighbours of one decision are one range.
fn ranges(decisions: &BTreeMap<u32, Decision>, default: u32) -> Vec<(u32, Decision)> {
    let mut ranges: Vec<(u32, Decision)> = vec![(0, Decision::Plain(default))];
    let mut begin = |at: u32, decision: Decision| match ranges.last_mut() {
        Some((start, last)) if *start == at => *last = decision,
        Some((_, last)) if *last == decision => {}
        _ => ranges.push((at, decision)),
    };
    for (number, decision) in decisions {
        begin(*number, decision.clone());
        if !decisions.contains_key(&(number + 1)) {
            begin(number + 1, Decision::Plain(default));
        }
    }
    // What begins as its predecessor is may have got there by being replaced.
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// Instructions that end with the decision of the range that the loaded number is in.
fn tree(ranges: &[(u32, Decision)]) -> Vec<Instruction> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some((start, decision)) = upper.first() else { return Vec::new() };
    if lower.is_empty() {
        return leaf(decision);
    }
    let (lower, upper) = (tree(lower), tree(upper));
    let mut program = match u8::try_from(lower.len()) {
        Ok(length) => vec![jump(JUMP_GREATER_EQUAL, *start, length, 0)],
        Err(_) => vec![jump(JUMP_GREATER_EQUAL, *start, 0, 1), skip(lower.len())],
    };
    program.extend(lower);
    program.extend(upper);
    program
}

fn leaf(decision: &Decision) -> Vec<Instruction> {
    let (rules, last) = match decision {
        Decision::Plain(action) => return vec![finish(*action)],
        Decision::Conditional(rules, last) => (rules, last),
    };
    let mut program = Vec::new();
    for (conditions, action) in rules {
        let mut rule = vec![finish(*action)];
        for argument in conditions.iter().rev() {
            let mut tested = condition(argument, rule.len() as u8);
            tested.extend(rule);
            rule = tested;
        }
        program.extend(rule);
    }
    program.push(finish(*last));
    program
}

/// Goes on if the condition holds, and else skips `rest` instructions after its own.
fn condition(argument: &LinuxSeccompArg, rest: u8) -> Vec<Instruction> {
    use LinuxSeccompOperator::*;
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (high, low) = halves(argument.value());
    let at = ARGUMENTS + 8 * argument.index() as u32;
    // Both halves as they lie in memory where the low one comes first.
    let (load_low, load_high) = (load(at), load(at + 4));
    match argument.op() {
        ScmpCmpEq => {
            vec![load_high, jump(JUMP_EQUAL, high, 0, 2 + rest), load_low, jump(JUMP_EQUAL, low, 0, rest)]
        }
        ScmpCmpNe => vec![load_high, jump(JUMP_EQUAL, high, 0, 2), load_low, jump(JUMP_EQUAL, low, rest, 0)],
        ScmpCmpMaskedEq => {
            let (value_high, value_low) = halves(argument.value_two().unwrap_or(0));
            vec![
                load_high,
                mask(high),
                jump(JUMP_EQUAL, value_high, 0, 3 + rest),
                load_low,
                mask(low),
                jump(JUMP_EQUAL, value_low, 0, rest),
            ]
        }
        op @ (ScmpCmpGt | ScmpCmpGe) => {
            let last = if op == ScmpCmpGt { JUMP_GREATER } else { JUMP_GREATER_EQUAL };
            vec![
                load_high,
                jump(JUMP_GREATER, high, 3, 0),
                jump(JUMP_EQUAL, high, 0, 2 + rest),
                load_low,
                jump(last, low, 0, rest),
            ]
        }
        op @ (ScmpCmpLt | ScmpCmpLe) => {
            let last = if op == ScmpCmpLt { JUMP_GREATER_EQUAL } else { JUMP_GREATER };
            vec![
                load_high,
                jump(JUMP_GREATER, high, 3 + rest, 0),
                jump(JUMP_EQUAL, high, 0, 2),
                load_low,
                jump(last, low, rest, 0),
            ]
        }
    }
}

fn load(at: u32) -> Instruction {
    Instruction { code: LOAD, jump_true: 0, jump_false: 0, value: at }
}

fn mask(bits: u32) -> Instruction {
    Instruction { code: AND, jump_true: 0, jump_false: 0, value: bits }
}

fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, value }
}

fn skip(instructions: usize) -> Instruction {
    Instruction { code: JUMP, jump_true: 0, jump_false: 0, value: instructions as u32 }
}

fn finish(action: u32) -> Instruction {
    Instruction { code: RETURN, jump_true: 0, jump_false: 0, value: action }
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use oci_spec::runtime::LinuxSyscall;

    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const X86_64: u32 = 0xc000_003e;
    const X86: u32 = 0x4000_0003;

    /// What the kernel would decide.
    fn decide(filter: &Filter, audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(audit.to_ne_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let (mut at, mut loaded) = (0, 0u32);
        loop {
            let Instruction { code, jump_true, jump_false, value } = filter.program[at];
            at += 1;
            let holds = match code {
                RETURN => return value,
                LOAD => {
                    let bytes = &data[value as usize..value as usize + 4];
                    loaded = u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
                    continue;
                }
                AND => {
                    loaded &= value;
                    continue;
                }
                JUMP => {
                    at += value as usize;
                    continue;
                }
                JUMP_EQUAL => loaded == value,
                JUMP_GREATER => loaded > value,
                JUMP_GREATER_EQUAL => loaded >= value,
                _ => panic!("instruction {code:#x}"),
            };
            at += usize::from(if holds { jump_true } else { jump_false });
        }
    }

    fn profile(rules: &str) -> LinuxSeccomp {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
                "syscalls":[{rules}]}}"#
        );
        serde_json::from_str(&text).expect("profile")
    }

    #[test]
    fn pure_filter_decides_by_number_and_architecture() {
        let rules = r#"{"names":["read","write","open","getpid","clone3","nosuch"],"action":"SCMP_ACT_ALLOW"},
            {"names":["mount","stime"],"action":"SCMP_ACT_ERRNO","errnoRet":13},{"names":["mount"],"action":"SCMP_ACT_ALLOW"}"#;
        let filter = compile(&profile(rules)).expect("program");
        let call = |audit, number| decide(&filter, audit, number, [0; 6]);
        for (number, expected) in [
            (0, ALLOW),
            (1, ALLOW),
            (2, ALLOW),
            (3, 0x5_0000 | 38),
            (39, ALLOW),
            (38, 0x5_0000 | 38),
            (165, 0x5_0000 | 13),
            (435, ALLOW),
            (436, 0x5_0000 | 38),
            (X32, KILL_PROCESS),
            (u32::MAX, KILL_PROCESS),
        ] {
            assert_eq!(call(X86_64, number), expected, "{number}");
        }
        assert_eq!([3, 25, 21, 1].map(|number| call(X86, number)), [ALLOW, 0x5_000d, 0x5_000d, 0x5_0026]);
        assert_eq!(call(0xc000_00b7, 0), KILL_PROCESS, "another machine's");
    }

    #[test]
    fn pure_filter_compares_arguments_as_64_bits() {
        const BIG: u64 = 0x1_0000_0005;
        type Case = (&'static str, fn(u64) -> bool);
        let cases: [Case; 7] = [
            ("EQ", |x| x == BIG),
            ("NE", |x| x != BIG),
            ("LT", |x| x < BIG),
            ("LE", |x| x <= BIG),
            ("GT", |x| x > BIG),
            ("GE", |x| x >= BIG),
            ("MASKED_EQ", |x| x & BIG == 5),
        ];
        for (name, holds) in cases {
            let rule = format!(
                r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
                    {{"index":1,"value":7,"op":"SCMP_CMP_EQ"}},{{"index":4,"value":{BIG},"valueTwo":5,"op":"SCMP_CMP_{name}"}}]}}"#
            );
            let filter = compile(&profile(&rule)).expect("program");
            for value in [0, 4, 5, 6, 7, BIG - 1, BIG, BIG + 1, BIG & !1, 0x2_0000_0000, 0x2_0000_0005, u64::MAX] {
                let call = |first: u64| decide(&filter, X86_64, 0, [0, first, 0, 0, value, 0]) == ALLOW;
                assert_eq!(call(7), holds(value), "{value:#x} {name}");
                assert!(!call(8) && !call(7 | 1 << 32), "{value:#x} {name}");
            }
        }
    }

    #[test]
    fn pure_filter_decides_as_the_profile_says_for_every_call() {
        let set = crate::Capabilities::default().resolve(40, u64::MAX).expect("capabilities");
        let profile = crate::Seccomp::Default.resolve(&set, crate::seccomp::Architecture::X86_64);
        let profile = profile.expect("profile").expect("a filter");
        let filter = compile(&profile).expect("program");
        assert!(filter.program.len() < 600, "{}", filter.program.len());
        for known in native() {
            let all: BTreeMap<u32, Vec<&LinuxSyscall>> = profile.syscalls().iter().flatten().fold(
                BTreeMap::new(),
                |mut all: BTreeMap<u32, Vec<&LinuxSyscall>>, rule| {
                    for number in rule.names().iter().filter_map(|name| (known.number_of)(name)) {
                        all.entry(number).or_default().push(rule);
                    }
                    all
                },
            );
            for number in 0..600 {
                let rules = all.get(&number).cloned().unwrap_or_default();
                if rules.iter().any(|rule| rule.args().is_some()) {
                    continue;
                }
                let expected = match rules.first() {
                    Some(rule) => action(rule.action(), rule.errno_ret()).expect("action"),
                    None => 0x5_0000 | 38,
                };
                assert_eq!(decide(&filter, known.audit, number, [0; 6]), expected, "{:#x} {number}", known.audit);
            }
        }
        // Netlink of any kind but that of audit.
        let socket = |family, protocol| decide(&filter, X86_64, 41, [family, 3, protocol, 0, 0, 0]);
        assert_eq!([socket(16, 0), socket(2, 9), socket(16, 9)], [ALLOW, ALLOW, 0x5_0000 | 22]);
        let personality = |domain| decide(&filter, X86_64, 135, [domain, 0, 0, 0, 0, 0]);
        assert_eq!([personality(0), personality(0x20008), personality(1)], [ALLOW, ALLOW, 0x5_0000 | 38]);
    }

    #[test]
    fn pure_filter_refuses_what_it_cannot_say() {
        let error = |rules: &str| compile(&profile(rules)).expect_err(rules).to_string();
        assert!(error(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#).contains("needs an OCI runtime"));
        let sixth = r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#;
        assert!(error(sixth).contains("\"read\""));
    }
}
