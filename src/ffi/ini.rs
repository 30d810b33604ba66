//! Declares and reads PHP's configuration directives.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

use celery_client::mask::{mask, mask_misplaced};
use ext_php_rs::ffi;
use ext_php_rs::flags::IniEntryPermission;
use ext_php_rs::zend::{IniEntryDef, IniEntryDefs, ModuleEntry};

unsafe extern "C" {
    fn zend_ini_string_ex(
        name: *const c_char,
        len: usize,
        orig: c_int,
        exists: *mut bool,
    ) -> *mut c_char;
    fn zend_unregister_ini_entries(module_number: c_int);
    fn display_ini_entries(module: *mut ModuleEntry);
}

/// `zend_result`
const SUCCESS: c_int = 0;
/// `ZEND_INI_DISPLAY_ORIG`: selects phpinfo's column of master values.
const DISPLAY_ORIGINAL: c_int = 1;

/// Declares a directive that scripts may change.
pub(crate) const fn open(name: &'static CStr, default: &'static CStr) -> IniEntryDef {
    directive(name, default, IniEntryPermission::All)
}

/// Declares a directive that only the administrator sets (php.ini, `php_admin_value`, `.user.ini`).
pub(crate) const fn fixed(name: &'static CStr, default: &'static CStr) -> IniEntryDef {
    let permission = IniEntryPermission::System.union(IniEntryPermission::PerDir);
    directive(name, default, permission)
}

const fn directive(
    name: &'static CStr,
    default: &'static CStr,
    permission: IniEntryPermission,
) -> IniEntryDef {
    let mut entry = IniEntryDef::new(name, default, permission);
    entry.on_modify = Some(count_change);
    entry.displayer = Some(display_misplaced);
    entry
}

thread_local! {
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Returns how often directives were changed (in this thread). Values read at another count may be
/// out of date.
pub(crate) fn changes() -> u64 {
    CHANGES.get()
}

/// Counts a change and accepts every value, because values are checked when they are used. Without
/// such a function, `ini_restore()` has no effect.
unsafe extern "C" fn count_change(
    _entry: *mut ffi::zend_ini_entry,
    _value: *mut ffi::zend_string,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _stage: c_int,
) -> c_int {
    CHANGES.set(CHANGES.get().wrapping_add(1));
    SUCCESS
}

/// Declares an administrator's directive that holds a URL. Phpinfo shows it without its password.
pub(crate) const fn secret_url(name: &'static CStr) -> IniEntryDef {
    let mut entry = fixed(name, c"");
    entry.displayer = Some(display_masked);
    entry
}

/// Registers directives. Call it only while the module starts.
pub(crate) fn register<const N: usize>(entries: &'static IniEntryDefs<N>, module_number: i32) {
    IniEntryDef::register(entries.as_slice(), module_number);
}

/// Removes the module's directives. Call it only while the module stops.
pub(crate) fn unregister(module_number: i32) {
    // SAFETY: called from MSHUTDOWN with the module's own number.
    unsafe { zend_unregister_ini_entries(module_number) };
}

/// Prints the module's directives for phpinfo.
pub(crate) fn display(module: *mut ModuleEntry) {
    // SAFETY: called from the info function with the entry that PHP passed to it.
    unsafe { display_ini_entries(module) };
}

/// Reads a directive. Returns an empty text if it does not exist.
pub(crate) fn read(name: &CStr) -> String {
    read_as(name, str::to_owned)
}

/// Reads a directive and converts it by `meaning`, which must not call PHP.
pub(crate) fn read_as<T>(name: &CStr, meaning: impl FnOnce(&str) -> T) -> T {
    let mut exists = false;
    // SAFETY: the name is valid for its length. The value is a C string owned by the engine, which
    // does not change it while no code of its own runs.
    let value = unsafe {
        let value = zend_ini_string_ex(name.as_ptr(), name.count_bytes(), 0, &raw mut exists);
        if value.is_null() {
            c""
        } else {
            CStr::from_ptr(value)
        }
    };
    meaning(&value.to_string_lossy())
}

/// Returns the `memory_limit` in effect, in bytes; -1 without a limit.
pub(crate) fn memory_limit() -> i64 {
    // SAFETY: the engine's globals live as long as the thread, which alone changes them.
    unsafe { (&raw const (*ffi::ext_php_rs_process_globals()).memory_limit).read() }
}

/// Displays a directive that holds a URL.
unsafe extern "C" fn display_masked(entry: *mut ffi::zend_ini_entry, kind: c_int) {
    // SAFETY: the engine passes a live entry.
    unsafe { display_as(entry, kind, mask) };
}

/// Displays any other directive, which may hold a URL by mistake.
unsafe extern "C" fn display_misplaced(entry: *mut ffi::zend_ini_entry, kind: c_int) {
    // SAFETY: the engine passes a live entry.
    unsafe { display_as(entry, kind, |text| mask_misplaced(text).into_owned()) };
}

/// Prints a directive's value, or its master value, converted by `shown`.
///
/// # Safety
/// The entry must be live, or null.
unsafe fn display_as(
    entry: *mut ffi::zend_ini_entry,
    kind: c_int,
    shown: impl FnOnce(&str) -> String,
) {
    // SAFETY: the entry is live, and its values are null or live strings.
    let value = unsafe {
        entry.as_ref().and_then(|entry| {
            let original = kind == DISPLAY_ORIGINAL && !entry.orig_value.is_null();
            (if original {
                entry.orig_value
            } else {
                entry.value
            })
            .as_ref()
        })
    };
    let text = value
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default();
    let shown = if text.is_empty() {
        "no value".to_owned()
    } else {
        without_markup(&shown(&text))
    };
    let _ = ext_php_rs::zend::output_write(shown.as_bytes());
}

/// Percent-encodes characters that would be markup when phpinfo writes HTML.
fn without_markup(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    for character in url.chars() {
        match character {
            '<' => shown.push_str("%3C"),
            '>' => shown.push_str("%3E"),
            '"' => shown.push_str("%22"),
            '&' => shown.push_str("%26"),
            other => shown.push(other),
        }
    }
    shown
}
