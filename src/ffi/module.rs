//! The module's entry and its life cycle: start, end of each request, stop, phpinfo.
//!
//! The start of the module creates nothing that a fork would break (a socket, a thread), because
//! PHP-FPM forks after it.

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use celery_client::blocking::Process;
use ext_php_rs::builders::{ModuleBuilder, ModuleStartup};
use ext_php_rs::ffi;
use ext_php_rs::zend::{ModuleAllocations, ModuleEntry, StaticModuleEntry, try_catch};

use crate::{lifecycle, settings};

use super::ini;

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
    ) -> c_int;
}

const SUCCESS: c_int = 0;
const FAILURE: c_int = -1;

/// The struct `zend_module_dep`.
#[repr(C)]
struct Dependency {
    name: *const c_char,
    relation: *const c_char,
    version: *const c_char,
    kind: u8,
}

/// `MODULE_DEP_REQUIRED`
const REQUIRED: u8 = 1;

#[repr(transparent)]
struct Dependencies([Dependency; 2]);

// SAFETY: the struct holds pointers to literals only.
unsafe impl Sync for Dependencies {}

static DEPENDENCIES: Dependencies = Dependencies([
    Dependency {
        name: c"json".as_ptr(),
        relation: std::ptr::null(),
        version: std::ptr::null(),
        kind: REQUIRED,
    },
    Dependency {
        name: std::ptr::null(),
        relation: std::ptr::null(),
        version: std::ptr::null(),
        kind: 0,
    },
]);

static STARTUP: Mutex<Option<ModuleStartup>> = Mutex::new(None);

/// Returns the module's entry. PHP looks up this symbol in the shared object.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn get_module() -> *mut ModuleEntry {
    static ENTRY: StaticModuleEntry = StaticModuleEntry::new();
    ENTRY.get_or_init(|| {
        let builder = ModuleBuilder::new("celery", env!("CARGO_PKG_VERSION"))
            .startup_function(start)
            .shutdown_function(stop)
            .request_shutdown_function(end_request)
            .info_function(info);
        let Ok((mut entry, startup, owned)) =
            <(ModuleEntry, ModuleStartup, ModuleAllocations)>::try_from(builder)
        else {
            // The builder refuses only names with NUL bytes and duplicate functions, and there are
            // none.
            std::process::abort();
        };
        entry.deps = DEPENDENCIES.0.as_ptr().cast();
        if let Ok(mut slot) = STARTUP.lock() {
            *slot = Some(startup);
        }
        (entry, owned)
    })
}

unsafe extern "C" fn start(kind: c_int, module_number: c_int) -> c_int {
    let outcome = catch_unwind(|| {
        quiet_panics();
        super::bailout::prepare();
        watch_forks();
        settings::register(module_number);
        let started = STARTUP
            .lock()
            .ok()
            .and_then(|slot| slot.as_ref().map(|s| s.startup(kind, module_number)));
        match started {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the module was not prepared".to_owned()),
        }
        lifecycle::module_start().map_err(|error| error.0)
    });
    match outcome {
        Ok(Ok(())) => SUCCESS,
        Ok(Err(problem)) => {
            super::throw::warning(&format!("celery: {problem}"));
            FAILURE
        }
        Err(_) => FAILURE,
    }
}

unsafe extern "C" fn stop(_kind: c_int, module_number: c_int) -> c_int {
    // Destructors close the connections.
    let outcome = catch_unwind(|| ini::unregister(module_number));
    if outcome.is_ok() { SUCCESS } else { FAILURE }
}

unsafe extern "C" fn end_request(_kind: c_int, _module_number: c_int) -> c_int {
    match try_catch(AssertUnwindSafe(lifecycle::request_end)) {
        Ok(()) => SUCCESS,
        Err(_) => FAILURE,
    }
}

unsafe extern "C" fn info(module: *mut ModuleEntry) {
    let rows = catch_unwind(lifecycle::info).unwrap_or_default();
    // SAFETY: the engine is printing phpinfo. The strings outlive the calls, and the counts match
    // them.
    unsafe {
        ffi::php_info_print_table_start();
        for (name, value) in rows {
            row(&name, &value);
        }
        ffi::php_info_print_table_end();
    }
    ini::display(module);
}

/// Prints a row of phpinfo's table.
///
/// # Safety
///
/// The engine must be printing phpinfo.
unsafe fn row(name: &str, value: &str) {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else {
        return;
    };
    let (name, value): (&CStr, &CStr) = (&name, &value);
    // SAFETY: two columns, two C strings.
    unsafe { ffi::php_info_print_table_row(2, name.as_ptr(), value.as_ptr()) };
}

/// Registers a handler for forks of this process, so that no call has to ask the system for the
/// process id.
fn watch_forks() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only counts. When glibc unloads this library, it also removes the
        // handler.
        if unsafe { pthread_atfork(None, None, Some(forked)) } == 0 {
            Process::forks_are_reported();
        }
    });
}

extern "C" fn forked() {
    Process::forked();
}

/// Silences the standard panic hook. A panic becomes a PHP `Error`, and the hook's text on stderr
/// would end up in web servers' logs as well.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}
