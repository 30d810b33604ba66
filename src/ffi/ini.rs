//! PHP's configuration directives: declaring and reading them.

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
/// `ZEND_INI_DISPLAY_ORIG`: phpinfo's column of master values.
const DISPLAY_ORIGINAL: c_int = 1;

/// A directive that scripts may change.
pub(crate) const fn open(name: &'static CStr, default: &'static CStr) -> IniEntryDef {
    directive(name, default, IniEntryPermission::All)
}

/// A directive that only the administrator sets (php.ini, `php_admin_value`, `.user.ini`).
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

/// How often a directive was changed (in this thread): what was read at another count may be out of date.
pub(crate) fn changes() -> u64 {
    CHANGES.get()
}

/// Accepts every value, which is stored after this: what it means is asked when it is needed. Without such a function
/// `ini_restore()` does nothing.
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

/// A directive of the administrator's that holds a URL: phpinfo shows it without its password.
pub(crate) const fn secret_url(name: &'static CStr) -> IniEntryDef {
    let mut entry = fixed(name, c"");
    entry.displayer = Some(display_masked);
    entry
}

/// Makes directives known. Only while the module starts.
pub(crate) fn register<const N: usize>(entries: &'static IniEntryDefs<N>, module_number: i32) {
    IniEntryDef::register(entries.as_slice(), module_number);
}

/// Forgets the module's directives. Only while the module stops.
pub(crate) fn unregister(module_number: i32) {
    // SAFETY: called from MSHUTDOWN with the module's own number.
    unsafe { zend_unregister_ini_entries(module_number) };
}

/// Prints the module's directives for phpinfo.
pub(crate) fn display(module: *mut ModuleEntry) {
    // SAFETY: called from the info function with the entry that PHP passed to it.
    unsafe { display_ini_entries(module) };
}

/// Reads a directive; empty if it does not exist.
pub(crate) fn read(name: &CStr) -> String {
    read_as(name, str::to_owned)
}

/// Reads what a directive means. `meaning` must not call PHP.
pub(crate) fn read_as<T>(name: &CStr, meaning: impl FnOnce(&str) -> T) -> T {
    let mut exists = false;
    // SAFETY: the name is valid for its length; the value is a C string owned by the engine, which does not change it
    // while no code of its own runs.
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

/// Shows a directive that holds a URL.
unsafe extern "C" fn display_masked(entry: *mut ffi::zend_ini_entry, kind: c_int) {
    // SAFETY: the engine passes a live entry.
    unsafe { display_as(entry, kind, mask) };
}

/// Shows any other directive: a URL may stand there by mistake.
unsafe extern "C" fn display_misplaced(entry: *mut ffi::zend_ini_entry, kind: c_int) {
    // SAFETY: the engine passes a live entry.
    unsafe { display_as(entry, kind, |text| mask_misplaced(text).into_owned()) };
}

/// Prints a directive's value, or its master value, as `shown` has it.
///
/// # Safety
/// The entry is live, or null.
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

/// Percent-encodes what would be markup where phpinfo writes HTML.
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
