//! The machine's time zone, which PHP's own setting does not change.

use std::ffi::{c_char, c_int, c_long};
use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

/// The struct `tm`, which is the same on Linux and macOS.
#[repr(C)]
struct Tm {
    parts: [c_int; 9],
    offset: c_long,
    zone: *const c_char,
}

unsafe extern "C" {
    fn localtime_r(time: *const i64, result: *mut Tm) -> *mut Tm;
}

/// Returns the seconds by which the machine's local time is ahead of UTC.
pub(crate) fn local_offset() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(0);
    let mut local = MaybeUninit::<Tm>::zeroed();
    // SAFETY: both pointers are valid for the call, which fills the struct; all zeroes are a valid
    // one, if it fails.
    let local = unsafe {
        localtime_r(&raw const now, local.as_mut_ptr());
        local.assume_init()
    };
    local.offset
}
