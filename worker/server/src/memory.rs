//! How this process takes memory from the system and gives it back.

use std::ffi::{c_int, c_long};

// Parsing and encoding allocate in many threads: measured against the system's allocator in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the allocator keeps memory that nobody holds, in milliseconds. Buffers come and go with every batch: at its
/// default of one second a landing clears the same pages again and again (docs/performance.md).
const PURGE_DELAY: c_long = 10_000;
/// `mi_option_purge_delay` in mimalloc.h.
const MI_OPTION_PURGE_DELAY: c_int = 15;

#[allow(unsafe_code, reason = "functions of the allocator that its crate does not wrap")]
// SAFETY: as mimalloc.h has them; none takes a pointer, and all may be called by any thread at any time.
unsafe extern "C" {
    safe fn mi_option_set(option: c_int, value: c_long);
    safe fn mi_collect(force: bool);
}

/// To be called before anything else is done.
pub(crate) fn prepare() {
    refuse_huge_pages();
    mi_option_set(MI_OPTION_PURGE_DELAY, PURGE_DELAY);
}

/// Gives what nobody holds to the system at once: the allocator looks at it only when there is something to do.
pub(crate) fn give_back() {
    mi_collect(true);
    tracing::debug!("memory that nobody holds is given back to the system");
}

/// Keeps the kernel from giving memory in huge pages, which the allocator asks for: buffers come and go so fast that
/// clearing 2 MiB at each first touch costs a fifth of a landing (docs/performance.md).
#[cfg(target_os = "linux")]
fn refuse_huge_pages() {
    #[allow(unsafe_code, reason = "a call of the C library")]
    // SAFETY: it takes numbers only. Where the kernel does not know it, it does nothing.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_huge_pages() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(unsafe_code, reason = "a function of the allocator that its crate does not wrap")]
    // SAFETY: as above.
    unsafe extern "C" {
        safe fn mi_option_get(option: c_int) -> c_long;
    }

    /// Bytes of this process that are in memory.
    #[cfg(target_os = "linux")]
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_nobody_holds_is_kept_until_it_is_given_back() {
        const BLOCK: usize = 1 << 20;
        const BLOCKS: usize = 256;
        // What the allocator has for the option when nobody has said anything: its number is that of the delay.
        assert_eq!(mi_option_get(MI_OPTION_PURGE_DELAY), 1000);
        prepare();
        assert_eq!(mi_option_get(MI_OPTION_PURGE_DELAY), PURGE_DELAY);
        let held: Vec<Vec<u8>> = (0..BLOCKS).map(|_| vec![1; BLOCK]).collect();
        let with = resident();
        drop(held);
        // Other tests of this process hold little beside that.
        assert!(resident() > with - BLOCKS * BLOCK / 4);
        give_back();
        assert!(resident() < with - BLOCKS * BLOCK / 2);
    }
}
