//! The caller's own program, kept from steps.
//!
//! A step is a fork of the caller until its own program is executed, and an image can name
//! `/proc/self/exe` as what is to be executed: then the caller's file runs as the step, which may keep
//! it open and write to it once nobody executes it any more. Through a mount that may only be read,
//! and that is in nobody's namespace, it cannot.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use nix::fcntl::AtFlags;
use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::OpenTreeFlags;

use crate::sys::attributes::RDONLY;

const OWN: &str = "/proc/self/exe";

/// Whether the program that this process executes is out of reach of steps without an OCI runtime.
pub(crate) fn is_protected() -> bool {
    rustix::fs::statvfs(OWN).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Makes sure that steps without an OCI runtime cannot write to the program that this process
/// executes: unless that is so, the program is executed anew, with the same arguments and environment,
/// from a mount of its file that may only be read. It is for the beginning of a program: what has been
/// done so far is done again.
///
/// # Errors
/// The program cannot be mounted, or executed.
pub fn protect_own_program() -> std::io::Result<()> {
    if is_protected() {
        return Ok(());
    }
    execute_anew().map(|never| match never {})
}

fn execute_anew() -> std::io::Result<Infallible> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let program = rustix::mount::open_tree(CWD, OWN, clone)?;
    crate::sys::set_mount_attributes(program.as_fd(), false, RDONLY, 0, None)?;
    // Else it would be executed anew for ever.
    if !rustix::fs::fstatvfs(&program)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(rustix::io::Errno::ROFS.into());
    }
    let arguments = std::env::args_os().map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>()?;
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let environment = std::env::vars_os().map(variable).collect::<Result<Vec<_>, _>>()?;
    Ok(nix::unistd::execveat(&program, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH)?)
}
