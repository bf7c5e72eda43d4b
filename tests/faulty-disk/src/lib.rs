//! Stands between a program and the system's `fsync`, `fdatasync` and `rename`: it counts them over all threads, writes
//! each down before it is made, and at one of them fails it or kills the process.
//!
//! Loaded by `LD_PRELOAD`, told by the environment:
//!
//! ```text
//! FAULTY_DISK_TRACE=/tmp/x/trace   one line a call is added here: its number, its name, its path, its thread
//! FAULTY_DISK_AT=17                at the 17th call; 0 or none: never
//! FAULTY_DISK_DO=kill              kill, eio or enospc
//! ```
//!
//! A tracer could inject the same faults, but counts the calls of each thread apart: which of them is the 17th of the
//! process it cannot say.

#![expect(unsafe_code, reason = "the C library's functions are answered for by functions of the same names")]

use std::{
    env,
    ffi::CStr,
    fs::{self, File, OpenOptions},
    io::Write as _,
    sync::{Mutex, OnceLock, PoisonError},
};

use libc::{AT_FDCWD, c_char, c_int, c_long, c_uint};

/// What befalls the call that is aimed at.
#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Error(c_int),
}

struct Counter {
    trace: Option<File>,
    at: u64,
    fault: Fault,
    calls: u64,
}

static COUNTER: OnceLock<Mutex<Counter>> = OnceLock::new();

fn counter() -> &'static Mutex<Counter> {
    COUNTER.get_or_init(|| {
        let trace = env::var_os("FAULTY_DISK_TRACE")
            .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
        let at = env::var("FAULTY_DISK_AT").ok().and_then(|at| at.parse().ok()).unwrap_or(0);
        let fault = match env::var("FAULTY_DISK_DO").as_deref() {
            Ok("eio") => Fault::Error(libc::EIO),
            Ok("enospc") => Fault::Error(libc::ENOSPC),
            Ok(_) | Err(_) => Fault::Kill,
        };
        Mutex::new(Counter { trace, at, fault, calls: 0 })
    })
}

/// Counts a call; the error it is to meet, if it is the one.
fn meet(call: &str, path: &str) -> Option<c_int> {
    let mut counter = counter().lock().unwrap_or_else(PoisonError::into_inner);
    counter.calls += 1;
    let calls = counter.calls;
    if let Some(trace) = &mut counter.trace {
        let thread = fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
        // In one write, and held by the kernel from then on, whatever becomes of this process.
        let _ = trace.write_all(format!("{calls}\t{call}\t{path}\t{}\n", thread.trim()).as_bytes());
    }
    if calls != counter.at {
        return None;
    }
    match counter.fault {
        Fault::Error(error) => Some(error),
        Fault::Kill => {
            // SAFETY: both take numbers alone.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            // The lock is held: no other thread makes a call before the signal is there.
            loop {
                std::thread::park();
            }
        }
    }
}

/// Fails with an error, or makes the system call.
fn call(met: Option<c_int>, system: impl FnOnce() -> c_long) -> c_int {
    match met {
        Some(error) => {
            // SAFETY: the place of this thread's own error number.
            unsafe { *libc::__errno_location() = error };
            -1
        }
        None => c_int::try_from(system()).unwrap_or(-1),
    }
}

fn path_of(fd: c_int) -> String {
    fs::read_link(format!("/proc/self/fd/{fd}"))
        .map_or_else(|_| "?".to_owned(), |path| path.display().to_string())
}

/// # Safety
/// `path` points to a text that ends with a zero.
unsafe fn text(path: *const c_char) -> String {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned()
}

/// `fsync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: a number alone.
    call(meet("fsync", &path_of(fd)), || unsafe { libc::syscall(libc::SYS_fsync, fd) })
}

/// `fdatasync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: a number alone.
    call(meet("fdatasync", &path_of(fd)), || unsafe { libc::syscall(libc::SYS_fdatasync, fd) })
}

/// `rename(2)`.
///
/// # Safety
/// Both paths point to texts that end with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

/// `renameat(2)`.
///
/// # Safety
/// As [`rename`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { renameat2(from_folder, from, to_folder, to, 0) }
}

/// `renameat2(2)`.
///
/// # Safety
/// As [`rename`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    // SAFETY: as the caller promises.
    let met = meet("rename", &unsafe { text(to) });
    // SAFETY: the arguments of the call as they came.
    call(met, || unsafe { libc::syscall(libc::SYS_renameat2, from_folder, from, to_folder, to, flags) })
}
