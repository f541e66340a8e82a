//! Finds programs: gabion's own helpers on the host, and commands inside a root file system.

use std::path::{Path, PathBuf};

use rootfs::Root;
use rustix::fs::Access;

use crate::ProcessSpec;

/// The host's program `name`: a path as it is, a bare name by `search_path`.
pub(crate) fn find_on_host(name: &Path, search_path: &str) -> Option<PathBuf> {
    let executable = |path: &Path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    if name.components().count() > 1 || name.is_absolute() {
        return Some(name.to_path_buf()).filter(|path| executable(path));
    }
    search_path
        .split(':')
        .filter(|dir| dir.starts_with('/'))
        .map(|dir| Path::new(dir).join(name))
        .find(|path| executable(path))
}

/// Whether a command can be started, as far as the root file system tells beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Yes, or only the runtime can tell.
    Possible,
    /// There is no such file.
    Missing,
    /// It is a script, and there is no such interpreter.
    NoInterpreter(String),
    /// It is no executable file.
    NotExecutable,
}

/// Looks `process`'s command up as the runtime will.
pub(crate) fn look_up(root: &Root, process: &ProcessSpec) -> Lookup {
    let Some(command) = process.args.first() else { return Lookup::Missing };
    if command.contains('/') {
        return candidate(root, &Path::new(&process.working_dir).join(command));
    }
    let mut result = Lookup::Missing;
    for dir in process.variable("PATH").unwrap_or_default().split(':') {
        match candidate(root, &Path::new(&process.working_dir).join(dir).join(command)) {
            Lookup::Possible => return Lookup::Possible,
            Lookup::Missing => {}
            Lookup::NoInterpreter(interpreter) => return Lookup::NoInterpreter(interpreter),
            Lookup::NotExecutable => result = Lookup::NotExecutable,
        }
    }
    result
}

fn candidate(root: &Root, path: &Path) -> Lookup {
    match executable(root, path) {
        Lookup::Possible => match interpreter(root, path) {
            Some(interpreter) if executable(root, Path::new(&interpreter)) == Lookup::Missing => {
                Lookup::NoInterpreter(interpreter)
            }
            _ => Lookup::Possible,
        },
        other => other,
    }
}

/// The kind of machine that the command, or the interpreter of the script that it is, is a program
/// for, if this machine is another one.
pub(crate) fn foreign_machine(root: &Root, process: &ProcessSpec) -> Option<&'static str> {
    let command = process.args.first()?;
    let path = process.variable("PATH").unwrap_or_default();
    let dirs: Vec<&str> = if command.contains('/') { vec![""] } else { path.split(':').collect() };
    let mut paths = dirs.into_iter().map(|dir| Path::new(&process.working_dir).join(dir).join(command));
    let program = paths.find(|path| executable(root, path) == Lookup::Possible)?;
    let program = interpreter(root, &program).map_or(program, PathBuf::from);
    machine(root, &program).filter(|machine| *machine != oci::Platform::host().architecture)
}

/// What an ELF file says that it runs on, in the words of platforms.
fn machine(root: &Root, path: &Path) -> Option<&'static str> {
    use std::io::Read as _;
    const MACHINES: [(u16, &str); 8] = [
        (3, "386"),
        (21, "ppc64le"),
        (22, "s390x"),
        (40, "arm"),
        (62, "amd64"),
        (183, "arm64"),
        (243, "riscv64"),
        (258, "loong64"),
    ];
    let mut header = [0; 20];
    root.open_file_following(path).ok()?.read_exact(&mut header).ok()?;
    let [0x7f, b'E', b'L', b'F', _, order, .., low, high] = header else { return None };
    let number = if order == 2 { u16::from_be_bytes([low, high]) } else { u16::from_le_bytes([low, high]) };
    Some(MACHINES.iter().find(|(known, _)| *known == number).map_or("another kind of machine", |(_, name)| name))
}

/// The interpreter that a script names in its first line.
fn interpreter(root: &Root, path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut line = Vec::new();
    root.open_file_following(path).ok()?.take(256).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?;
    Some(word.to_owned()).filter(|word| word.starts_with('/'))
}

fn executable(root: &Root, path: &Path) -> Lookup {
    // What is there at run time is not what is there now.
    if ["/proc", "/dev", "/sys"].iter().any(|mounted| path.starts_with(mounted)) {
        return Lookup::Possible;
    }
    match root.metadata_following(path) {
        Ok(metadata) if metadata.is_file() && metadata.mode & 0o111 != 0 => Lookup::Possible,
        Ok(_) => Lookup::NotExecutable,
        Err(error) if error.is_not_found() || error.errno() == rustix::io::Errno::NOTDIR => {
            // A symlink that leads into a mount ends nowhere as yet.
            match root.resolve(path) {
                Ok(end)
                    if ["proc", "dev", "sys"]
                        .iter()
                        .any(|mounted| end.strip_prefix("/").unwrap_or(&end).starts_with(mounted)) =>
                {
                    Lookup::Possible
                }
                _ => Lookup::Missing,
            }
        }
        Err(_) => Lookup::Possible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn tree_programs_of_other_machines_are_known() {
        let dir = tempfile::tempdir().expect("temp dir");
        let elf = |machine: [u8; 2], order: u8| {
            let mut bytes = b"\x7fELF\x02".to_vec();
            bytes.push(order);
            bytes.resize(18, 0);
            bytes.extend(machine);
            bytes
        };
        let own = std::fs::read("/proc/self/exe").expect("this program");
        let files: [(&str, &[u8]); 6] = [
            ("z", &elf([22, 0], 1)),
            ("big", &elf([0, 22], 2)),
            ("odd", &elf([9, 9], 1)),
            ("own", own.get(..64).expect("a header")),
            ("script", b"#!/z\n"),
            ("text", b"echo\n"),
        ];
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).expect("write");
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        let root = Root::open(dir.path()).expect("root");
        let machine = |command: &str| {
            let env = vec!["PATH=/none:/".to_owned()];
            let process =
                ProcessSpec { args: vec![command.into()], env, working_dir: "/".into(), ..ProcessSpec::default() };
            foreign_machine(&root, &process)
        };
        for (command, expected) in [
            ("z", Some("s390x")),
            ("/big", Some("s390x")),
            ("odd", Some("another kind of machine")),
            ("script", Some("s390x")),
            ("own", None),
            ("text", None),
            ("missing", None),
        ] {
            assert_eq!(machine(command), expected, "{command}");
        }
    }

    #[test]
    fn tree_commands_are_looked_up_inside_the_root() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = |path: &str, mode: u32| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            std::fs::write(&path, "").expect("write");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        };
        file("bin/yes", 0o755);
        file("bin/no", 0o644);
        file("work/tool", 0o700);
        file("bin/script", 0o755);
        std::fs::write(dir.path().join("bin/script"), "#! /bin/nosh -e\n").expect("write");
        file("bin/fine", 0o755);
        std::fs::write(dir.path().join("bin/fine"), "#!/bin/yes\n").expect("write");
        symlink("/bin/yes", dir.path().join("bin/link")).expect("symlink");
        symlink("/proc/self/exe", dir.path().join("bin/self")).expect("symlink");
        symlink("/nowhere", dir.path().join("bin/dangling")).expect("symlink");
        let root = Root::open(dir.path()).expect("root");
        let look = |command: &str| {
            let process = ProcessSpec {
                args: vec![command.into()],
                env: vec!["PATH=/sbin:/bin".into()],
                working_dir: "/work".into(),
                ..ProcessSpec::default()
            };
            look_up(&root, &process)
        };
        use Lookup::*;
        for (command, expected) in [
            ("yes", Possible),
            ("link", Possible),
            ("self", Possible),
            ("script", NoInterpreter("/bin/nosh".into())),
            ("fine", Possible),
            ("/proc/self/exe", Possible),
            ("./tool", Possible),
            ("tool", Missing),
            ("no", NotExecutable),
            ("/bin", NotExecutable),
            ("/bin/yes/x", Missing),
            ("dangling", Missing),
            ("/etc/shadow", Missing),
        ] {
            assert_eq!(look(command), expected, "{command}");
        }
    }
}
